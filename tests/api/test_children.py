"""What a running parent asks for its children: ActionsService, and its older spelling, Queue- and StateService."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from connectrpc.code import Code
from flyteidl2.actions import actions_service_pb2 as actions
from flyteidl2.common import identifier_pb2
from flyteidl2.workflow import queue_service_pb2 as queue
from flyteidl2.workflow import run_service_pb2 as rpc
from flyteidl2.workflow import state_service_pb2 as state
from flyteidl2.workflow.queue_service_connect import QueueServiceClient
from flyteidl2.workflow.state_service_connect import StateServiceClient

from tests.api.caller import ABORTED, FAILED, SUCCEEDED, Caller, gated, python, refused, until
from tests.api.served import Served

QUICK = python("pass")


@pytest.fixture
async def parent(caller: Caller, tmp_path: Path) -> AsyncIterator[identifier_pb2.ActionIdentifier]:
    """A parent that runs until the test is over."""
    action = await caller.start(gated(tmp_path / "parent"))
    await caller.says(action, "at the gate")
    yield action
    (tmp_path / "parent").touch()
    await caller.ended(action)


def child(parent: identifier_pb2.ActionIdentifier, name: str, **what: Any) -> actions.EnqueueRequest:
    what = what or {"task": {"spec": QUICK}}
    base = f"s3://alula/runs/{parent.run.project}/{parent.run.domain}/{parent.run.name}"
    identifier = identifier_pb2.ActionIdentifier(run=parent.run, name=name)
    action = {
        "action_id": identifier,
        "parent_action_name": parent.name,
        "input_uri": f"{base}/{name}/inputs.pb",
        "run_output_base": base,
        "group": "a group",
        **what,
    }
    return actions.EnqueueRequest(action=action)


class Updates:
    """What a watch of children tells, gathered beside the test."""

    def __init__(self, stream: AsyncIterator[Any]) -> None:
        self._stream = stream
        self.phases: dict[str, list[int]] = {}
        self.errors: dict[str, str] = {}
        self.uris: dict[str, str] = {}

    async def sentinel(self) -> None:
        """Read the snapshot."""
        async for message in self._stream:
            if message.HasField("control_message"):
                assert message.control_message.sentinel
                return
            self._note(message.action_update)

    async def ended(self, name: str, phase: int) -> None:
        """Read until a child is in a phase."""
        while phase not in self.phases.get(name, []):
            async with asyncio.timeout(20):
                message = await anext(self._stream)
            assert not message.HasField("control_message")  # once only
            self._note(message.action_update)

    def _note(self, update: state.ActionUpdate) -> None:
        name = update.action_id.name
        self.phases.setdefault(name, []).append(update.phase)
        self.errors[name] = update.error.code
        self.uris[name] = update.output_uri


async def test_children_from_enqueue_to_end(caller: Caller, parent: identifier_pb2.ActionIdentifier) -> None:
    await caller.actions.enqueue(child(parent, "early"))
    await caller.ended(identifier_pb2.ActionIdentifier(run=parent.run, name="early"))
    watch = Updates(caller.actions.watch_for_updates(actions.WatchForUpdatesRequest(parent_action_id=parent)))
    await watch.sentinel()
    assert watch.phases == {"early": [SUCCEEDED]}
    await caller.actions.enqueue(child(parent, "late"))
    await watch.ended("late", SUCCEEDED)
    await caller.actions.enqueue(child(parent, "wrong", task={"spec": python("raise SystemExit(9)")}))
    await watch.ended("wrong", FAILED)
    assert watch.errors["wrong"] == "ContainerFailed"
    assert watch.uris["late"].endswith(f"{parent.run.name}/late/1")
    page = await caller.runs.list_actions(rpc.ListActionsRequest(run_id=parent.run))
    told = {action.id.name: action.metadata for action in page.actions}
    assert set(told) == {"a0", "early", "late", "wrong"}
    assert (told["late"].parent, told["late"].group) == ("a0", "a group")


async def test_enqueued_twice_is_one_action(caller: Caller, parent: identifier_pb2.ActionIdentifier) -> None:
    request = child(parent, "twice", task={"spec": python("print('once')")})
    await asyncio.gather(*(caller.actions.enqueue(request) for _ in range(10)))
    details = await caller.ended(request.action.action_id)
    await caller.actions.enqueue(request)
    assert await caller.details(request.action.action_id) == details
    assert await caller.log(request.action.action_id) == "once\n"


async def test_a_trace_is_recorded(caller: Caller, parent: identifier_pb2.ActionIdentifier) -> None:
    uri = "s3://alula/traced/outputs.pb"
    trace = {"name": "traced", "phase": SUCCEEDED, "outputs": {"output_uri": uri}, "spec": {}}
    for _ in range(2):
        await caller.actions.enqueue(child(parent, "trace", trace=trace))
    watch = Updates(caller.actions.watch_for_updates(actions.WatchForUpdatesRequest(parent_action_id=parent)))
    await watch.sentinel()
    assert watch.phases == {"trace": [SUCCEEDED]}
    assert watch.uris == {"trace": uri}


async def test_abort_of_a_child(caller: Caller, parent: identifier_pb2.ActionIdentifier, tmp_path: Path) -> None:
    request = child(parent, "stuck", task={"spec": gated(tmp_path / "never")})
    await caller.actions.enqueue(request)
    await caller.says(request.action.action_id, "at the gate")
    await caller.actions.abort(actions.AbortRequest(action_id=request.action.action_id, reason="stop it"))
    details = await caller.ended(request.action.action_id)
    assert (details.status.phase, details.abort_info.reason) == (ABORTED, "stop it")
    assert (await caller.details(parent)).status.phase not in (ABORTED, FAILED)


async def test_what_is_refused(caller: Caller, parent: identifier_pb2.ActionIdentifier) -> None:
    with refused(Code.INVALID_ARGUMENT, "parent_action_name"):
        orphan = child(parent, "orphan")
        orphan.action.ClearField("parent_action_name")
        await caller.actions.enqueue(orphan)
    with refused(Code.INVALID_ARGUMENT, "trace.phase"):
        await caller.actions.enqueue(child(parent, "odd", trace={"name": "t", "phase": 77, "spec": {}}))
    with refused(Code.INVALID_ARGUMENT, "condition.type"):
        await caller.actions.enqueue(child(parent, "if", condition={"name": "c", "type": {"simple": 9}}))
    strange = identifier_pb2.ActionIdentifier(run=parent.run, name="nobody")
    with refused(Code.NOT_FOUND, "nobody"):
        await caller.actions.enqueue(child(strange, "lost"))
    with refused(Code.NOT_FOUND, "nobody"):
        await until(caller.actions.watch_for_updates(actions.WatchForUpdatesRequest(parent_action_id=strange)))
    with refused(Code.NOT_FOUND, "nobody"):
        await caller.actions.abort(actions.AbortRequest(action_id=strange))
    over = (await caller.finished(QUICK)).id
    with refused(Code.ABORTED, "has ended"):
        await caller.actions.enqueue(child(over, "late"))


async def test_a_child_that_writes_where_nothing_can_be_read_fails_clearly(
    caller: Caller, parent: identifier_pb2.ActionIdentifier
) -> None:
    request = child(parent, "away", run_output_base="s3://elsewhere/x", task={"spec": QUICK})
    await caller.actions.enqueue(request)
    details = await caller.ended(request.action.action_id)
    assert details.status.phase == FAILED
    assert "s3://elsewhere" in details.error_info.message


async def test_children_end_with_their_parent(caller: Caller, tmp_path: Path) -> None:
    parent = await caller.start(gated(tmp_path / "never"))
    await caller.says(parent, "at the gate")
    below = child(parent, "below", task={"spec": gated(tmp_path / "never")})
    await caller.actions.enqueue(below)
    deepest = child(below.action.action_id, "deepest", task={"spec": gated(tmp_path / "never")})
    await caller.actions.enqueue(deepest)
    await caller.says(deepest.action.action_id, "at the gate")
    await caller.runs.abort_run(rpc.AbortRunRequest(run_id=parent.run, reason="all of it"))
    for action in (parent, below.action.action_id, deepest.action.action_id):
        details = await caller.ended(action)
        assert (details.status.phase, details.abort_info.reason) == (ABORTED, "all of it")


async def test_the_older_spelling(
    served: Served, caller: Caller, parent: identifier_pb2.ActionIdentifier, tmp_path: Path
) -> None:
    queued, watched = served.client(QueueServiceClient), served.client(StateServiceClient)

    def old(request: actions.EnqueueRequest) -> queue.EnqueueActionRequest:
        action = request.action
        return queue.EnqueueActionRequest(
            action_id=action.action_id,
            parent_action_name=action.parent_action_name,
            input_uri=action.input_uri,
            run_output_base=action.run_output_base,
            task=action.task,
        )

    first = child(parent, "first")
    for _ in range(2):
        await queued.enqueue_action(old(first))
    await caller.ended(first.action.action_id)
    watch = Updates(watched.watch(state.WatchRequest(parent_action_id=parent)))
    await watch.sentinel()
    assert watch.phases == {"first": [SUCCEEDED]}
    stuck = child(parent, "stuck", task={"spec": gated(tmp_path / "never")})
    await queued.enqueue_action(old(stuck))
    await queued.abort_queued_action(queue.AbortQueuedActionRequest(action_id=stuck.action.action_id, reason="old"))
    await watch.ended("stuck", ABORTED)
    await queued.abort_queued_run(queue.AbortQueuedRunRequest(run_id=parent.run, reason="old"))
    assert (await caller.ended(parent)).abort_info.reason == "old"
