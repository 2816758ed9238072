"""Cases of data: what is stored is found again, by its own name, of any size, and is nobody else's."""

import hashlib

import httpx
import pytest
from connectrpc.code import Code
from flyteidl2.core import types_pb2
from flyteidl2.dataproxy import dataproxy_service_pb2 as data
from flyteidl2.task import common_pb2
from flyteidl2.workflow import queue_service_pb2 as queue_pb2
from flyteidl2.workflow import run_service_pb2 as rpc
from flyteidl2.workflow import tracked_run_service_pb2 as tracked_pb2
from flyteidl2.workflow.queue_service_connect import QueueServiceClient
from flyteidl2.workflow.tracked_run_service_connect import TrackedRunServiceClient

from tests.api.caller import DOMAIN, PROJECT, SUCCEEDED, Caller, action_id, creation, python, refused, run_id

PLACE = {"name": PROJECT, "domain": DOMAIN}


def integer(name: str, value: int) -> dict[str, object]:
    return {"name": name, "value": {"scalar": {"primitive": {"integer": value}}}}


async def upload(caller: Caller, filename: str, content: bytes) -> str:
    """A file, as the SDK uploads it; where it is."""
    md5 = hashlib.md5(content).digest()
    location = await caller.data.create_upload_location(
        data.CreateUploadLocationRequest(project=PROJECT, domain=DOMAIN, filename=filename, content_md5=md5)
    )
    async with httpx.AsyncClient() as client:
        response = await client.put(location.signed_url, content=content, headers=dict(location.headers))
    assert response.status_code == 200, response.text
    return location.native_url


@pytest.mark.parametrize("name", ["my file", "ünïcödé 🙂", "what?", "a#b", "100%", "%41", "a+b&c=d", "a b%20c"])
async def test_a_file_is_under_its_own_name(caller: Caller, name: str) -> None:
    """Case O9: the URI that an upload gives leads to what was uploaded, whatever its name."""
    content = common_pb2.Inputs(literals=[integer("x", 7)]).SerializeToString()
    name += ".pb"
    uri = await upload(caller, name, content)
    assert uri.endswith(f"/{name}")
    offloaded = {"uri": uri, "inputs_hash": "h"}
    action = (await caller.runs.create_run(creation(python("pass"), offloaded_input_data=offloaded))).run.action.id
    found = await caller.data.get_action_data(data.GetActionDataRequest(action_id=action))
    assert found.inputs.literals[0].value.scalar.primitive.integer == 7


async def test_ignored_inputs_do_not_change_those_of_others(caller: Caller) -> None:
    """Case O8: two runs whose inputs differ in an ignored variable alone have one hash, and each its own inputs."""
    spec = python("pass")
    spec.task_template.metadata.cache_ignore_input_vars.append("ignored")
    stored = []
    for value in (1, 2):
        inputs = {"literals": [integer("ignored", value)]}
        request = data.UploadInputsRequest(project_id=PLACE, task_spec=spec, inputs=inputs)
        stored.append((await caller.data.upload_inputs(request)).offloaded_input_data)
    assert stored[0].inputs_hash == stored[1].inputs_hash
    for value, offloaded in enumerate(stored, 1):
        action = (await caller.runs.create_run(creation(spec, offloaded_input_data=offloaded))).run.action.id
        found = await caller.data.get_action_data(data.GetActionDataRequest(action_id=action))
        assert found.inputs.literals[0].value.scalar.primitive.integer == value


async def test_a_refused_run_leaves_the_inputs_of_its_namesake(caller: Caller) -> None:
    """Case C2: what was refused, or was the same again, has overwritten nothing."""
    request = creation(python("pass"), "inputs-kept", inputs={"literals": [integer("x", 1)]})
    action = (await caller.runs.create_run(request)).run.action.id
    before = await caller.data.get_action_data(data.GetActionDataRequest(action_id=action))
    assert (await caller.runs.create_run(request)).run.action.id == action
    with refused(Code.ALREADY_EXISTS, "inputs-kept"):
        await caller.runs.create_run(creation(python("pass"), "inputs-kept", inputs={"literals": [integer("x", 2)]}))
    after = await caller.data.get_action_data(data.GetActionDataRequest(action_id=action))
    assert after == before
    assert after.inputs.literals[0].value.scalar.primitive.integer == 1


async def test_large_outputs_can_be_read(caller: Caller) -> None:
    """Case O11: 9 MB, which is near the most that the SDK sends inline, written as a task writes it."""
    size = 9_000_000
    text = {"scalar": {"primitive": {"string_value": "x" * size}}}
    content = common_pb2.Outputs(literals=[{"name": "o0", "value": text}]).SerializeToString()
    kept = await upload(caller, "outputs.pb", content)
    tracked = tracked_pb2.CreateTrackedRunRequest(run_id=run_id("large"), task_spec=python("pass"))
    tracker = TrackedRunServiceClient(caller.url)
    action = (await tracker.create_run(tracked)).run.action.id
    event = {"id": action, "attempt": 1, "phase": SUCCEEDED, "outputs": {"output_uri": kept}}
    update = tracked_pb2.TrackedActionUpdate(event=event, status={"phase": SUCCEEDED, "attempts": 1})
    request = tracked_pb2.ReportTrackedActionsRequest(run_id=action.run, updates=[update])
    assert [told.code for told in (await tracker.report_actions(request)).statuses] == [0]
    found = await caller.data.get_action_data(data.GetActionDataRequest(action_id=action))
    assert len(found.outputs.literals[0].value.scalar.primitive.string_value) == size
    assert (await caller.runs.get_action_data(rpc.GetActionDataRequest(action_id=action))).outputs == found.outputs


async def test_a_question_has_no_code(caller: Caller) -> None:
    """Its spec is none of a task's: it is not taken for one."""
    parent = await caller.start(python("import time; time.sleep(60)"))
    asked = queue_pb2.EnqueueActionRequest(
        action_id=action_id(parent.run, "asked"), parent_action_name="a0", input_uri="s3://alula/x"
    )
    asked.run_output_base, asked.condition.name, asked.condition.type.simple = (
        "s3://alula/x",
        "asked",
        types_pb2.BOOLEAN,
    )
    await QueueServiceClient(caller.url).enqueue_action(asked)
    attempt = {"action_id": asked.action_id, "attempt": 1}
    with refused(Code.NOT_FOUND, "no code"):
        await caller.data.create_download_link(
            data.CreateDownloadLinkRequest(artifact_type=data.ARTIFACT_TYPE_CODE_BUNDLE, action_attempt_id=attempt)
        )
    await caller.runs.abort_run(rpc.AbortRunRequest(run_id=parent.run))
