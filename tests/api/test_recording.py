"""What executors elsewhere record: EventsProxyService and InternalRunService."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from connectrpc.code import Code
from connectrpc.protocol import ProtocolType
from flyteidl2.common import identifier_pb2
from flyteidl2.workflow import events_proxy_service_pb2 as proxy
from flyteidl2.workflow import internal_run_service_pb2 as internal
from flyteidl2.workflow import internal_run_service_pb2_grpc
from flyteidl2.workflow import run_definition_pb2 as definition
from flyteidl2.workflow import run_service_pb2 as rpc
from flyteidl2.workflow.events_proxy_service_connect import EventsProxyServiceClient
from flyteidl2.workflow.internal_run_service_connect import InternalRunServiceClient
from google.protobuf.timestamp_pb2 import Timestamp

from tests.api.caller import FAILED, QUEUED, RUNNING, SUCCEEDED, Caller, gated, refused
from tests.api.served import Served

INVALID, NOT_FOUND = 3, 5  # google.rpc.Code
START = datetime(2026, 1, 2, tzinfo=UTC)
TRACE = {"name": "t", "phase": RUNNING, "spec": {}}  # of all actions, no local process plays a part in these


@pytest.fixture
async def parent(caller: Caller, tmp_path: Path) -> AsyncIterator[identifier_pb2.ActionIdentifier]:
    action = await caller.start(gated(tmp_path / "gate"))
    await caller.says(action, "at the gate")
    yield action
    (tmp_path / "gate").touch()
    await caller.ended(action)


@pytest.fixture
async def recorder(served: Served) -> InternalRunServiceClient:
    return served.client(InternalRunServiceClient)


def record(parent: identifier_pb2.ActionIdentifier, name: str) -> internal.RecordActionRequest:
    identifier = identifier_pb2.ActionIdentifier(run=parent.run, name=name)
    return internal.RecordActionRequest(action_id=identifier, parent="a0", input_uri="s3://alula/x", trace=TRACE)


def event(action: identifier_pb2.ActionIdentifier, phase: int, second: int, **fields: Any) -> definition.ActionEvent:
    at = Timestamp()
    at.FromDatetime(START + timedelta(seconds=second))
    return definition.ActionEvent(id=action, attempt=fields.pop("attempt", 1), phase=phase, updated_time=at, **fields)  # type: ignore[arg-type]


async def test_events_from_first_to_last(
    served: Served, caller: Caller, recorder: InternalRunServiceClient, parent: identifier_pb2.ActionIdentifier
) -> None:
    request = record(parent, "remote")
    for _ in range(2):
        response = await recorder.record_action(request)
        assert (response.status.code, response.action_id) == (0, request.action_id)
    proxied = served.client(EventsProxyServiceClient)
    error = {"code": "Boom", "message": "it broke", "kind": 1}
    first = [event(request.action_id, RUNNING, 1), event(request.action_id, FAILED, 2, error_info=error)]
    second = [event(request.action_id, RUNNING, 3, attempt=2), event(request.action_id, SUCCEEDED, 4, attempt=2)]
    for events in (first, second, first, second):  # repeated, and late
        await proxied.record(proxy.RecordRequest(events=events))
    details = await caller.details(request.action_id)
    assert (details.status.phase, details.status.attempts) == (SUCCEEDED, 2)
    assert [(a.attempt, a.phase) for a in details.attempts] == [(1, FAILED), (2, SUCCEEDED)]
    assert details.attempts[0].error_info.message == "it broke"
    late = [event(request.action_id, FAILED, 9, attempt=2)]
    await proxied.record(proxy.RecordRequest(events=late))
    assert (await caller.details(request.action_id)).status.phase == SUCCEEDED


async def test_all_events_of_a_request_or_none(
    served: Served, caller: Caller, recorder: InternalRunServiceClient, parent: identifier_pb2.ActionIdentifier
) -> None:
    request = record(parent, "half")
    await recorder.record_action(request)
    unknown = identifier_pb2.ActionIdentifier(run=parent.run, name="unknown")
    events = [event(request.action_id, SUCCEEDED, 1), event(unknown, RUNNING, 1)]
    with refused(Code.NOT_FOUND, "unknown", "record it before its events"):
        await served.client(EventsProxyServiceClient).record(proxy.RecordRequest(events=events))
    assert (await caller.details(request.action_id)).status.phase == RUNNING
    response = await recorder.record_action_events(internal.RecordActionEventsRequest(events=events))
    assert (response.status.code, "unknown" in response.status.message) == (NOT_FOUND, True)


@pytest.mark.parametrize("fields", [{"phase": 66}, {"updated_time": Timestamp(seconds=10**17)}, {"attempt": 2**32 - 1}])
async def test_what_is_no_event(
    served: Served, recorder: InternalRunServiceClient, parent: identifier_pb2.ActionIdentifier, fields: Any
) -> None:
    bad = definition.ActionEvent(id=parent, **{"attempt": 1, **fields})
    with refused(Code.INVALID_ARGUMENT):
        await served.client(EventsProxyServiceClient).record(proxy.RecordRequest(events=[bad]))
    response = await recorder.record_action_events(internal.RecordActionEventsRequest(events=[bad]))
    assert response.status.code == INVALID


async def test_outcomes_are_in_the_responses(
    recorder: InternalRunServiceClient, parent: identifier_pb2.ActionIdentifier
) -> None:
    nothing = record(parent, "nothing")
    nothing.ClearField("trace")
    response = await recorder.record_action(nothing)
    assert (response.status.code, "spec" in response.status.message) == (INVALID, True)
    lost = record(parent, "lost")
    lost.parent = "nobody"
    assert (await recorder.record_action(lost)).status.code == NOT_FOUND


@pytest.mark.parametrize("protocol", [ProtocolType.CONNECT, ProtocolType.GRPC_WEB], ids=lambda p: p.name)
async def test_streams_both_ways(
    served: Served, caller: Caller, parent: identifier_pb2.ActionIdentifier, protocol: ProtocolType
) -> None:
    """One bad record is an outcome like any other: what comes after it is recorded."""
    recorder = InternalRunServiceClient(served.url, protocol=protocol)
    actions = [record(parent, f"s{number}") for number in range(3)]
    actions[1].ClearField("trace")

    async def recorded() -> AsyncIterator[internal.RecordActionStreamRequest]:
        for request in actions:
            yield internal.RecordActionStreamRequest(request=request)

    async def updated() -> AsyncIterator[internal.UpdateActionStatusStreamRequest]:
        for nonce, phase in enumerate((77, SUCCEEDED)):
            update = {"action_id": actions[0].action_id, "status": {"phase": phase, "attempts": 1}}
            yield internal.UpdateActionStatusStreamRequest(request=update, nonce=nonce)

    async def happened() -> AsyncIterator[internal.RecordActionEventStreamRequest]:
        for nonce, phase in enumerate((66, SUCCEEDED)):
            one = event(actions[2].action_id, phase, 5)
            yield internal.RecordActionEventStreamRequest(request={"event": one}, nonce=nonce)

    codes = [m.response.status.code async for m in recorder.record_action_stream(recorded())]
    assert codes == [0, INVALID, 0]
    told = [(m.nonce, m.response.status.code) async for m in recorder.update_action_status_stream(updated())]
    assert told == [(0, INVALID), (1, 0)]
    told = [(m.nonce, m.response.status.code) async for m in recorder.record_action_event_stream(happened())]
    assert told == [(0, INVALID), (1, 0)]
    for action in (actions[0], actions[2]):
        assert (await caller.details(action.action_id)).status.phase == SUCCEEDED
    page = await caller.runs.list_actions(rpc.ListActionsRequest(run_id=parent.run))
    assert {a.id.name for a in page.actions} == {"a0", "s0", "s2"}
    assert QUEUED not in {a.status.phase for a in page.actions}


async def test_each_record_is_answered_before_the_next_is_sent(
    served: Served, caller: Caller, recorder: InternalRunServiceClient, parent: identifier_pb2.ActionIdentifier
) -> None:
    """By gRPC, where both directions are open at once."""
    request = record(parent, "duplex")
    await recorder.record_action(request)
    async with grpc.aio.insecure_channel(served.address) as channel:
        stub = internal_run_service_pb2_grpc.InternalRunServiceStub(channel)  # type: ignore[no-untyped-call]
        call = stub.RecordActionEventStream()
        for nonce, phase in enumerate((RUNNING, SUCCEEDED)):
            one = event(request.action_id, phase, nonce)
            await call.write(internal.RecordActionEventStreamRequest(request={"event": one}, nonce=nonce))
            answer = await call.read()
            assert (answer.nonce, answer.response.status.code) == (nonce, 0)
            assert (await caller.details(request.action_id)).status.phase == phase
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
        assert await call.code() is grpc.StatusCode.OK
