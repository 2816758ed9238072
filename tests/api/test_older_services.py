"""Services that no newer SDK calls, and that answer all the same. Case C40: State and RunLogs; case O21: images."""

import json

from connectrpc.code import Code
from flyteidl2.dataproxy import dataproxy_service_pb2 as dataproxy
from flyteidl2.imagebuilder import definition_pb2, payload_pb2
from flyteidl2.imagebuilder.service_connect import ImageServiceClient
from flyteidl2.workflow import run_logs_service_pb2, state_service_pb2
from flyteidl2.workflow.run_logs_service_connect import RunLogsServiceClient
from flyteidl2.workflow.state_service_connect import StateServiceClient

from tests.api.caller import Caller, action_id, python, refused, run_id
from tests.api.served import Served


async def test_a_state_is_kept_and_outcomes_are_in_the_response(served: Served, caller: Caller) -> None:
    client = served.client(StateServiceClient)
    action = (await caller.finished(python("pass"))).id
    state = json.dumps({"phase": 3, "outputDir": "s3://b/\u00e4"})
    missing = await client.get(state_service_pb2.GetRequest(action_id=action))
    assert (missing.status.code, missing.action_id) == (5, action)
    put = await client.put(state_service_pb2.PutRequest(action_id=action, state=state))
    assert (put.status.code, put.action_id) == (0, action)
    got = await client.get(state_service_pb2.GetRequest(action_id=action))
    assert (got.status.code, got.state) == (0, state)
    wrong = await client.put(state_service_pb2.PutRequest(action_id=action, state="{"))
    assert wrong.status.code == 3
    assert "state: " in wrong.status.message
    nobody = action_id(run_id("never-was"))
    assert (await client.put(state_service_pb2.PutRequest(action_id=nobody, state="{}"))).status.code == 5
    assert (await client.get(state_service_pb2.GetRequest(action_id=nobody))).status.code == 5
    with refused(Code.INVALID_ARGUMENT, "action_id"):
        await client.put(state_service_pb2.PutRequest(state="{}"))


async def test_logs_by_their_older_name(served: Served, caller: Caller) -> None:
    action = (await caller.finished(python("print('one'); print('two')"))).id
    newer = [m async for m in caller.data.tail_logs(dataproxy.TailLogsRequest(action_id=action, attempt=1))]
    client = served.client(RunLogsServiceClient)
    request = run_logs_service_pb2.TailLogsRequest(action_id=action, attempt=1)
    older = [m async for m in client.tail_logs(request)]
    lines = [line for m in older for batch in m.logs for line in batch.lines]
    assert lines == [line for m in newer for batch in m.logs for line in batch.lines]
    assert {"one\n", "two\n"} <= {line.message for line in lines}
    with refused(Code.NOT_FOUND, "no log of attempt 9"):
        _ = [m async for m in client.tail_logs(run_logs_service_pb2.TailLogsRequest(action_id=action, attempt=9))]


async def test_an_image_that_is_not_here_is_not_found(served: Served) -> None:
    client = served.client(ImageServiceClient)
    request = payload_pb2.GetImageRequest(id=definition_pb2.ImageIdentifier(name="flyte:0bc646aa66ce"))
    with refused(Code.NOT_FOUND, "build it", "ghcr.io/flyteorg/flyte:py3"):
        await client.get_image(request)
