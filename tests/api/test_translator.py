"""TranslatorService, as consoles use it: the form of a task, the form of a run, and the literals of what was filled in.

Case O12: defaults are merged, all kinds of literals are told, nothing is truncated or rounded, unions take what fits
best, and the order is that of the interface.
"""

import datetime
import hashlib
from typing import Any

import httpx
import pytest
from connectrpc.code import Code
from flyte.types import TypeEngine
from flyteidl2.common import identifier_pb2
from flyteidl2.core import interface_pb2
from flyteidl2.core import literals_pb2 as literals
from flyteidl2.dataproxy import dataproxy_service_pb2 as data
from flyteidl2.task import common_pb2, task_definition_pb2, task_service_pb2
from flyteidl2.trigger import trigger_service_pb2
from flyteidl2.trigger.trigger_service_connect import TriggerServiceClient
from flyteidl2.workflow import translator_service_pb2 as pb
from flyteidl2.workflow.translator_service_connect import TranslatorServiceClient
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct

from tests.api.caller import Caller, action_id, creation, python, refused, run_id
from tests.api.served import Served

NOON = datetime.datetime(2026, 1, 31, 12, 0, 0, 500000, tzinfo=datetime.UTC)
TYPES: dict[str, Any] = {
    "zeta": int,
    "alpha": float | int,
    "when": datetime.datetime,
    "note": str | None,
    "mid": list[int],
}
VALUES: dict[str, Any] = {"zeta": 2**60 + 1, "alpha": 1.5, "when": NOON, "note": None, "mid": [1, 2]}


@pytest.fixture
async def translator(served: Served) -> TranslatorServiceClient:
    return TranslatorServiceClient(served.url)


def variables(**types: Any) -> interface_pb2.VariableMap:
    made = interface_pb2.VariableMap()
    for key, kind in types.items():
        made.variables.add(key=key, value=interface_pb2.Variable(type=TypeEngine.to_literal_type(kind)))
    return made


async def named(types: dict[str, Any], values: dict[str, Any]) -> list[common_pb2.NamedLiteral]:
    made = []
    for key, value in values.items():
        literal = await TypeEngine.to_literal(value, types[key], TypeEngine.to_literal_type(types[key]))
        made.append(common_pb2.NamedLiteral(name=key, value=literal))
    return made


async def natives(types: dict[str, Any], found: Any) -> dict[str, Any]:
    return {one.name: await TypeEngine.to_python_value(one.value, types[one.name]) for one in found}


def struct(**values: Any) -> Struct:
    made = Struct()
    made.update(values)
    return made


def defaults(form: Struct) -> dict[str, Any]:
    told = MessageToDict(form)["properties"]
    return {key: field["default"] for key, field in told.items() if "default" in field}


async def of_literals(translator: TranslatorServiceClient, **fields: Any) -> Struct:
    request = pb.LiteralsToLaunchFormJsonRequest(variables=variables(**TYPES), **fields)
    return (await translator.literals_to_launch_form_json(request)).json


async def test_a_task_of_the_sdk_and_its_values(translator: TranslatorServiceClient) -> None:
    spec = task_definition_pb2.TaskSpec()
    spec.task_template.interface.inputs.CopyFrom(variables(**TYPES))
    for one in await named(TYPES, {"mid": [7], "zeta": 2**60 + 1}):
        parameter = interface_pb2.Parameter(default=one.value)
        spec.default_inputs.add(name=one.name, parameter=parameter)
    request = pb.TaskSpecToLaunchFormJsonRequest(task_spec=spec)
    form = (await translator.task_spec_to_launch_form_json(request)).json
    told = MessageToDict(form)
    assert (told["type"], told["title"]) == ("object", "Launch Form")
    assert told["ui:order"] == list(TYPES)
    assert told["required"] == ["alpha", "when"]
    assert defaults(form) == {"mid": [7], "zeta": str(2**60 + 1)}

    values = struct(**defaults(form), when="2026-01-31T14:00:00.5+02:00", alpha=1.5)
    filled = pb.JsonValuesToLiteralsRequest(variables=variables(**TYPES), values=values)
    made = (await translator.json_values_to_literals(filled)).literals
    assert [one.name for one in made] == list(TYPES)
    assert await natives(TYPES, made) == {**VALUES, "mid": [7]}


async def test_literals_become_a_form_and_literals_again(translator: TranslatorServiceClient) -> None:
    given = await named(TYPES, VALUES)
    form = await of_literals(translator, literals=[*given, common_pb2.NamedLiteral(name="unknown")])
    assert MessageToDict(form)["ui:order"] == list(TYPES)
    back = await translator.launch_form_json_to_literals(pb.LaunchFormJsonToLiteralsRequest(json=form))
    assert list(back.literals) == given
    assert await natives(TYPES, back.literals) == VALUES


async def test_the_inputs_of_a_run(translator: TranslatorServiceClient, caller: Caller) -> None:
    given = common_pb2.Inputs(literals=await named(TYPES, VALUES))
    action = (await caller.runs.create_run(creation(python("pass"), inputs=given))).run.action.id
    uri = (await caller.data.get_action_data(data.GetActionDataRequest(action_id=action))).inputs_uri
    form = await of_literals(translator, literals_uri=uri, action_id=action)
    assert defaults(form) == defaults(await of_literals(translator, literals=given.literals))
    with refused(Code.INVALID_ARGUMENT, "literals_uri", "neither"):
        await of_literals(translator, literals_uri="s3://alula/other", action_id=action)
    with refused(Code.INVALID_ARGUMENT, "action_id"):
        await of_literals(translator, literals_uri=uri)
    with refused(Code.NOT_FOUND, "no-such"):
        await of_literals(translator, literals_uri=uri, action_id=action_id(run_id("no-such")))


async def stored(caller: Caller, name: str, body: bytes) -> str:
    """The URI of an object with this content."""
    asked = data.CreateUploadLocationRequest(
        project="flytesnacks", domain="development", filename=name, content_md5=hashlib.md5(body).digest()
    )
    asked.expires_in.seconds = 60
    location = await caller.data.create_upload_location(asked)
    async with httpx.AsyncClient() as client:
        assert (await client.put(location.signed_url, content=body, headers=dict(location.headers))).status_code == 200
    return location.native_url


async def test_literals_that_lie_elsewhere(translator: TranslatorServiceClient, caller: Caller) -> None:
    [inner] = await named({"x": list[int]}, {"x": [4, 5]})
    body = inner.value.SerializeToString()
    uri = await stored(caller, "small", body)

    def away(size: int, where: str = uri) -> common_pb2.NamedLiteral:
        offloaded = literals.LiteralOffloadedMetadata(uri=where, size_bytes=size)
        return common_pb2.NamedLiteral(name="mid", value=literals.Literal(offloaded_metadata=offloaded))

    assert defaults(await of_literals(translator, literals=[away(len(body))])) == {"mid": [4, 5]}
    for large in (away(2**40), away(9, f"{uri}-not"), away(9, "s3://elsewhere/x"), away(9, "file:///etc/passwd")):
        form = await of_literals(translator, literals=[large])
        back = await translator.launch_form_json_to_literals(pb.LaunchFormJsonToLiteralsRequest(json=form))
        kept = back.literals[0].value.offloaded_metadata
        assert (kept.uri, kept.size_bytes) == (
            large.value.offloaded_metadata.uri,
            large.value.offloaded_metadata.size_bytes,
        )
        assert kept.inferred_type.collection_type.simple == 1


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"zeta": 3.9}, "values.zeta: 3.9 is no whole number"),
        ({"zeta": "x"}, "values.zeta"),
        ({"mid": [1, {"a": 1}]}, "values.mid[1]"),
        ({"more": 1}, "values.more: is no input: the inputs are zeta, alpha"),
        ({"when": None}, "values.when: null is given"),
        ({"when": "2026-01-31T12:00:00"}, "values.when"),
        ({"alpha": "x"}, "values.alpha: fits no variant"),
    ],
)
async def test_what_does_not_fit(translator: TranslatorServiceClient, values: dict[str, Any], words: str) -> None:
    given = struct(**{"zeta": 1, "alpha": 1, "when": "2026-01-31T12:00:00Z", "mid": [], **values})
    request = pb.JsonValuesToLiteralsRequest(variables=variables(**TYPES), values=given)
    with refused(Code.INVALID_ARGUMENT, words):
        await translator.json_values_to_literals(request)


async def test_requests_that_lack_what_they_are_about(translator: TranslatorServiceClient) -> None:
    with refused(Code.INVALID_ARGUMENT, "values: needed"):
        await translator.json_values_to_literals(pb.JsonValuesToLiteralsRequest(variables=variables(**TYPES)))
    with refused(Code.INVALID_ARGUMENT, "values.zeta: is missing"):
        await translator.json_values_to_literals(
            pb.JsonValuesToLiteralsRequest(variables=variables(**TYPES), values=struct(mid=[]))
        )
    with refused(Code.INVALID_ARGUMENT, "json.properties"):
        await translator.launch_form_json_to_literals(pb.LaunchFormJsonToLiteralsRequest())
    with refused(Code.INVALID_ARGUMENT, "task_spec"):
        await translator.task_spec_to_launch_form_json(pb.TaskSpecToLaunchFormJsonRequest())


async def test_nested_as_deep_as_protobuf_lets_it(served: Served, translator: TranslatorServiceClient) -> None:
    """The deepest message a parser takes is answered or refused; it never brings the server down."""
    deep: dict[str, Any] = {}
    for _ in range(30):
        deep = {"a": deep}
    request = pb.JsonValuesToLiteralsRequest(variables=variables(x=dict), values=struct(x=deep))
    assert (await translator.json_values_to_literals(request)).literals[0].value.scalar.binary.tag == "msgpack"
    for levels in (34, 60, 500, 20_000):
        body = '{"values": {"x": ' + '{"a":' * levels + "1" + "}" * levels + "}}"
        path = "/flyteidl2.workflow.TranslatorService/JsonValuesToLiterals"
        response = httpx.post(served.url + path, content=body, headers={"content-type": "application/json"})
        assert (response.status_code, response.json()["code"]) == (400, "invalid_argument")


async def deployed(served: Served, caller: Caller, name: str, **spec: Any) -> identifier_pb2.TriggerIdentifier:
    """A trigger of a task of its own."""
    place = {"project": "flytesnacks", "domain": "development"}
    task = {**place, "name": name, "version": "v1"}
    body = python("pass")
    body.task_template.interface.inputs.CopyFrom(variables(**TYPES))
    await caller.tasks.deploy_task(task_service_pb2.DeployTaskRequest(task_id=task, spec=body))
    request = trigger_service_pb2.DeployTriggerRequest(
        name={**place, "name": "nightly", "task_name": name},
        spec={"task_version": "v1", **spec},
        automation_spec={"type": "TYPE_NONE"},
    )
    response = await TriggerServiceClient(served.url).deploy_trigger(request)
    return response.trigger.id


async def test_the_inputs_of_a_trigger(served: Served, caller: Caller, translator: TranslatorServiceClient) -> None:
    """They are found where UploadInputs has put them, too."""
    given = common_pb2.Inputs(literals=await named(TYPES, VALUES))
    expected = defaults(await of_literals(translator, literals=given.literals))
    inline = await deployed(served, caller, "inline", inputs=given)
    assert defaults(await of_literals(translator, trigger_id=inline)) == expected
    uploaded = await caller.data.upload_inputs(
        data.UploadInputsRequest(
            project_id={"name": "flytesnacks", "domain": "development"}, task_spec=python("pass"), inputs=given
        )
    )
    offloaded = await deployed(served, caller, "offloaded", offloaded_input_data=uploaded.offloaded_input_data)
    assert defaults(await of_literals(translator, trigger_id=offloaded)) == expected
    bare = await deployed(served, caller, "bare")
    with refused(Code.INVALID_ARGUMENT, "trigger_id", "no stored inputs"):
        await of_literals(translator, trigger_id=bare)
    bare.name.name = "no-such"
    with refused(Code.NOT_FOUND, "no-such"):
        await of_literals(translator, trigger_id=bare)
