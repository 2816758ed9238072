"""Watches: a snapshot, every change, and the right end."""

import asyncio
from contextlib import aclosing
from pathlib import Path

from connectrpc.code import Code
from flyteidl2.common import list_pb2
from flyteidl2.workflow import run_service_pb2 as rpc

from tests.api.caller import ABORTED, FAILED, RUNNING, SUCCEEDED, TERMINAL, Caller, gated, python, refused, until


async def test_an_action_from_its_snapshot_to_its_end(caller: Caller, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    action = await caller.start(gated(gate))
    await caller.says(action, "at the gate")
    told = []
    async with asyncio.timeout(20):
        async for message in caller.runs.watch_action_details(rpc.WatchActionDetailsRequest(action_id=action)):
            told.append(message.details)
            gate.touch()
    assert told[0].status.phase == RUNNING
    assert told[0].attempts[0].phase == RUNNING
    assert len(told) > 1
    last = told[-1]
    assert last.status.phase == SUCCEEDED
    assert last.attempts[-1].phase == SUCCEEDED
    assert last.attempts[-1].HasField("end_time")
    assert all(details.status.phase not in TERMINAL for details in told[:-1])


async def test_a_watch_of_what_has_ended_ends_at_once(caller: Caller) -> None:
    action = (await caller.finished(python("pass"))).id
    details = [m async for m in caller.runs.watch_action_details(rpc.WatchActionDetailsRequest(action_id=action))]
    runs = [m async for m in caller.runs.watch_run_details(rpc.WatchRunDetailsRequest(run_id=action.run))]
    assert [m.details.status.phase for m in details] == [SUCCEEDED]
    assert [m.details.action.status.phase for m in runs] == [SUCCEEDED]


async def test_each_attempt_is_told(caller: Caller) -> None:
    """Case C10."""
    details = await caller.finished(python("raise SystemExit(4)", retries=2))
    assert details.status.phase == FAILED
    assert details.status.attempts == 3
    assert [attempt.attempt for attempt in details.attempts] == [1, 2, 3]
    assert {attempt.phase for attempt in details.attempts} == {FAILED}
    assert all("code 4" in attempt.error_info.message for attempt in details.attempts)
    with refused(Code.NOT_FOUND, "attempt 4"):
        await caller.log(details.id, attempt=4)


async def test_abort_ends_the_watch(caller: Caller, tmp_path: Path) -> None:
    action = await caller.start(gated(tmp_path / "never"))
    await caller.says(action, "at the gate")
    watching = asyncio.create_task(caller.ended(action))
    await caller.runs.abort_run(rpc.AbortRunRequest(run_id=action.run, reason="enough of it"))
    details = await watching
    assert details.status.phase == ABORTED
    assert details.attempts[-1].phase == ABORTED
    assert details.abort_info.reason == "enough of it"
    assert "at the gate" in await caller.log(action)  # it ends, too


async def test_a_run_aborted_before_it_starts(caller: Caller, tmp_path: Path) -> None:
    """Case C6, case C30."""
    action = await caller.start(gated(tmp_path / "never"))
    await caller.runs.abort_action(rpc.AbortActionRequest(action_id=action, reason="at once"))
    details = await caller.ended(action)
    assert details.status.phase == ABORTED
    assert details.attempts[-1].phase == ABORTED


async def test_new_runs_appear(caller: Caller) -> None:
    """Case C23: a new run is told of at once, and what ends it too."""
    place = {"name": "watched", "domain": "development"}
    request = rpc.WatchRunsRequest(project_id=place)
    phases: dict[str, int] = {}
    started = False
    async with asyncio.timeout(20), aclosing(caller.runs.watch_runs(request)) as stream:  # type: ignore[type-var]
        async for message in stream:
            phases.update({run.action.id.run.name: run.action.status.phase for run in message.runs})
            if not started:
                assert not phases
                started = True
                await caller.start(python("pass"), name="elsewhere", project="not-watched")
                await caller.start(python("pass"), name="new", project="watched")
            if phases.get("new") == SUCCEEDED:
                break
    assert set(phases) == {"new"}
    snapshot = await until(caller.runs.watch_runs(request))
    assert [run.action.id.run.name for run in snapshot.runs] == ["new"]


async def test_every_kind_of_target(caller: Caller) -> None:
    """Case C23: an organisation and a cluster are everything there is; a project and a task are what they say."""
    action = await caller.start(python("pass"), name="aimed")
    task = {"project": "p", "domain": "development", "name": "probe", "version": "v"}
    for target in ({"org": "any"}, {"cluster_id": {"name": "local"}}):
        message = await until(caller.runs.watch_runs(rpc.WatchRunsRequest(**target)))
        assert action in [run.action.id for run in message.runs]
    assert not (await until(caller.runs.watch_runs(rpc.WatchRunsRequest(task_id=task)), lambda _: True)).runs


async def test_the_tree_of_a_run(caller: Caller, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    action = await caller.start(gated(gate))
    phases: list[int] = []

    def over(message: rpc.WatchActionsResponse) -> bool:
        phases.extend(enriched.action.status.phase for enriched in message.enriched_actions)
        if phases[-1] == RUNNING:
            gate.touch()
        return phases[-1] in TERMINAL

    await until(caller.runs.watch_actions(rpc.WatchActionsRequest(run_id=action.run)), over)
    assert phases == sorted(phases)
    assert phases[-1] == SUCCEEDED


async def test_the_filter_of_the_tree(caller: Caller, tmp_path: Path) -> None:
    """What does not meet a filter is not told of until it does."""
    gate = tmp_path / "gate"
    action = await caller.start(gated(gate))
    filters = list_pb2.Filter

    async def first(field: str, function: list_pb2.Filter.Function, values: list[str]) -> int:
        """The phase of the action when it is told of first."""
        wanted = filters(field=field, function=function, values=values)
        request = rpc.WatchActionsRequest(run_id=action.run, filter=[wanted])
        (enriched,) = (await until(caller.runs.watch_actions(request))).enriched_actions
        assert enriched.meets_filter
        return enriched.action.status.phase

    await caller.says(action, "at the gate")
    assert await first("PHASE", filters.VALUE_IN, ["1", "4"]) == RUNNING
    assert await first("NAME", filters.CONTAINS_CASE_INSENSITIVE, ["PRO"]) == RUNNING
    over = asyncio.create_task(first("phase", filters.VALUE_IN, ["5", "6"]))
    gate.touch()
    assert await over == SUCCEEDED
    for field, function, values in (
        ("phase", filters.EQUAL, ["no"]),
        ("phase", filters.VALUE_IN, ["55"]),
        ("color", filters.EQUAL, ["red"]),
    ):
        with refused(Code.INVALID_ARGUMENT, "filter"):
            await first(field, function, values)


async def test_logs_wait_for_the_attempt_and_follow_it(caller: Caller, tmp_path: Path) -> None:
    """Case O14."""
    gate = tmp_path / "gate"
    action = await caller.start(gated(gate, before="print('first')", after="print('last')"))
    await caller.says(action, "at the gate")
    following = asyncio.create_task(caller.log(action))
    gate.touch()
    assert await following == "first\nat the gate\nlast\n"
