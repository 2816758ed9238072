"""What becomes of actions: the reconciler at work over a simulated machine, from the first step to the last."""

import asyncio
import logging
from itertools import pairwise
from typing import Any

import pytest
from flyteidl2.task import task_definition_pb2

from alula.core.action import Kind
from alula.core.errors import Stale, Unavailable
from alula.core.ids import ROOT
from alula.core.launch import Launch, Presence
from alula.core.naming import attempt_name
from alula.core.phase import Phase
from tests.control.world import child, spec

from .ground import Process, succeed
from .server import Server, nothing


async def test_from_beginning_to_end(server: Server) -> None:
    await server.start(spec=spec(outputs=True))
    async with server.at_work():
        ended = await server.end()
        await server.ground.empty()
    (attempt,) = await server.story()
    assert (ended.phase, ended.attempt, ended.failure, ended.logged) == (Phase.SUCCEEDED, 1, None, True)
    assert attempt.output_uri == f"{ended.output_uri}/outputs.pb"
    phases = [t.phase for t in attempt.transitions]
    assert phases[0] is Phase.QUEUED
    assert phases[-2:] == [Phase.RUNNING, Phase.SUCCEEDED]
    assert phases == sorted(phases)
    (launch,) = server.ground.launches
    assert launch.name == attempt_name(ended.id, 1)
    assert launch.command == ("a0", "--outputs-path", ended.output_uri)
    assert (launch.env["SERVER"], launch.env["RUN_NAME"], launch.env["FLYTE_ATTEMPT_NUMBER"]) == ("here", "r", "0")


async def test_what_takes_a_while_to_start(server: Server) -> None:
    gate = asyncio.Event()

    async def play(process: Process) -> None:
        await gate.wait()
        await succeed(process)

    server.ground.play = play
    await server.start()
    async with server.at_work():
        assert (await server.reached(Phase.INITIALIZING)).logged
        gate.set()
        assert (await server.end()).phase is Phase.SUCCEEDED
    (attempt,) = await server.story()
    phases = [Phase.QUEUED, Phase.INITIALIZING, Phase.RUNNING, Phase.SUCCEEDED]
    assert [t.phase for t in attempt.transitions] == phases


async def test_a_run_that_is_made_while_it_works(server: Server) -> None:
    async with server.at_work():
        await server.start()
        assert (await server.end()).phase is Phase.SUCCEEDED


async def test_many_runs(server: Server) -> None:
    async with server.at_work(capacity=4):
        await asyncio.gather(*(server.start(f"r{n}") for n in range(40)))
        ends = await asyncio.gather(*(server.end(run=f"r{n}") for n in range(40)))
        await server.ground.empty()
    assert {e.phase for e in ends} == {Phase.SUCCEEDED}
    assert set(server.ground.started.values()) == {1}
    assert server.ground.most <= 4


async def test_a_task_that_fails_is_tried_again_after_a_while(server: Server) -> None:
    async def play(process: Process) -> None:
        process.run()
        if process.attempt < 3:
            await process.error(f"E{process.attempt}")
        else:
            await process.write("outputs.pb")
        process.exit()

    server.ground.play = play
    message = task_definition_pb2.TaskSpec.FromString(spec(retries=2))
    backoff = message.task_template.metadata.retries.backoff
    backoff.base.nanos, backoff.factor = 40_000_000, 2.0
    await server.start(spec=message.SerializeToString())
    async with server.at_work():
        ended = await server.end()
        await server.ground.empty()
    assert (ended.phase, ended.attempt, ended.user_failures, ended.system_failures) == (Phase.SUCCEEDED, 3, 2, 0)
    story = await server.story()
    assert [(a.phase, a.failure.code if a.failure else "") for a in story] == [
        (Phase.FAILED, "E1"),
        (Phase.FAILED, "E2"),
        (Phase.SUCCEEDED, ""),
    ]
    waits = []
    for earlier, later in pairwise(story):
        running = next(t for t in later.transitions if t.phase is Phase.RUNNING)
        assert earlier.end is not None
        waits.append((running.start - earlier.end).total_seconds())
    assert waits[0] >= 0.04
    assert waits[1] >= 0.08
    assert [launch.env["FLYTE_ATTEMPT_NUMBER"] for launch in server.ground.launches] == ["0", "1", "2"]
    assert len({launch.command[-1] for launch in server.ground.launches}) == 3, "each writes to a place of its own"


async def test_the_last_failure_is_what_a_task_ends_with(server: Server) -> None:
    async def play(process: Process) -> None:
        process.run()
        await process.error(f"E{process.attempt}")
        process.exit(1)

    server.ground.play = play
    await server.start(spec=spec(retries=1))
    async with server.at_work():
        ended = await server.end()
    assert (ended.phase, ended.attempt) == (Phase.FAILED, 2)
    assert ended.failure is not None
    assert (ended.failure.code, ended.failure.message) == ("E2", "attempt 2")


async def test_what_is_not_recoverable_is_not_tried_again(server: Server) -> None:
    async def play(process: Process) -> None:
        await process.error("No", recoverable=False)
        process.exit()

    server.ground.play = play
    await server.start(spec=spec(retries=5))
    async with server.at_work():
        ended = await server.end()
    assert (ended.phase, ended.attempt) == (Phase.FAILED, 1)


async def test_an_error_that_cannot_be_read_is_an_error(server: Server) -> None:
    async def play(process: Process) -> None:
        await process.write("error.pb", b"\xff not a message")
        process.exit()

    server.ground.play = play
    await server.start()
    async with server.at_work():
        ended = await server.end()
    assert ended.phase is Phase.FAILED
    assert ended.failure is not None


@pytest.mark.parametrize(("broken", "code"), [(True, "PluginNotFound"), (False, "NoSuchMachine")])
async def test_what_can_never_start_fails_and_gives_its_place_back(server: Server, broken: bool, code: str) -> None:
    message = task_definition_pb2.TaskSpec.FromString(spec(retries=3))
    if broken:
        message.task_template.ClearField("container")
    else:
        server.ground.refusing.add("x")
    root = await server.start("parent")

    async def play(process: Process) -> None:
        process.run()
        if process.action == ROOT:
            assert await process.call("after") == {"after": Phase.SUCCEEDED}
        await process.write("outputs.pb")
        process.exit()

    server.ground.play = play
    await server.world.actions.enqueue(root.run, child("x", spec=message.SerializeToString()))
    async with server.at_work(capacity=1):
        ended = await server.end("x", "parent")
        assert (await server.end(run="parent")).phase is Phase.SUCCEEDED
    assert (ended.phase, ended.attempt) == (Phase.FAILED, 1)
    assert ended.failure is not None
    assert ended.failure.code == code


@pytest.mark.parametrize(
    ("how", "attempts", "code"), [("vanish", 21, "MaxSystemFailuresExceeded"), ("die", 4, "MaxSystemFailuresExceeded")]
)
async def test_failures_that_are_not_its_own_have_a_budget(server: Server, how: str, attempts: int, code: str) -> None:
    """Case C31."""

    async def play(process: Process) -> None:
        process.run()
        getattr(process, how)()

    server.ground.play = play
    await server.start(spec=spec(retries=0))
    async with server.at_work():
        ended = await server.end()
    assert (ended.phase, ended.attempt, ended.user_failures) == (Phase.FAILED, attempts, 0)
    assert ended.failure is not None
    assert ended.failure.code == code


async def test_a_lost_attempt_costs_the_task_none_of_its_retries(server: Server) -> None:
    async def play(process: Process) -> None:
        process.run()
        if process.attempt == 1:
            process.vanish()
        elif process.attempt == 2:
            await process.error("E")
            process.exit()
        else:
            await succeed(process)

    server.ground.play = play
    await server.start(spec=spec(retries=1))
    async with server.at_work():
        ended = await server.end()
    assert (ended.phase, ended.attempt, ended.user_failures, ended.system_failures) == (Phase.SUCCEEDED, 3, 1, 1)


async def test_an_attempt_that_was_lost_after_its_work_was_done(server: Server) -> None:
    async def play(process: Process) -> None:
        process.run()
        await process.write("outputs.pb")
        process.vanish()

    server.ground.play = play
    await server.start(spec=spec(outputs=True))
    async with server.at_work():
        ended = await server.end()
    assert (ended.phase, ended.attempt) == (Phase.SUCCEEDED, 1)


@pytest.mark.parametrize(("writes_on", "phase", "attempts"), [(2, Phase.SUCCEEDED, 2), (9, Phase.FAILED, 2)])
async def test_outputs_that_are_missing(server: Server, writes_on: int, phase: Phase, attempts: int) -> None:
    async def play(process: Process) -> None:
        process.run()
        if process.attempt >= writes_on:
            await process.write("outputs.pb")
        process.exit()

    server.ground.play = play
    await server.start(spec=spec(outputs=True))
    async with server.at_work():
        ended = await server.end()
    assert (ended.phase, ended.attempt) == (phase, attempts)
    first = (await server.story())[0]
    assert first.failure is not None
    assert first.failure.code == "OutputsNotFound"


async def test_a_trace_is_nobodys_work(server: Server) -> None:
    root = await server.start()
    trace = child("t", kind=Kind.TRACE, hosted=False, phase=Phase.RUNNING)
    await server.world.actions.enqueue(root.run, trace)
    async with server.at_work():
        await server.end()
        await server.ground.empty()
    assert [launch.env["ACTION_NAME"] for launch in server.ground.launches] == [ROOT]


async def _sleep(process: Process) -> None:
    process.run()
    await asyncio.Event().wait()


async def test_an_abort_ends_what_runs(server: Server) -> None:
    """Case C30."""
    server.ground.play = _sleep
    root = await server.start()
    await server.world.actions.enqueue(root.run, child("x"))
    async with server.at_work():
        await server.reached(Phase.RUNNING)
        await server.reached(Phase.RUNNING, "x")
        await server.world.actions.abort(root, "enough")
        await server.ground.empty()
    assert await server.world.phases(ROOT, "x") == [Phase.ABORTED, Phase.ABORTED]


async def test_an_abort_while_it_waits_to_be_tried_again(server: Server) -> None:
    async def play(process: Process) -> None:
        await process.error("E")
        process.exit()

    server.ground.play = play
    message = task_definition_pb2.TaskSpec.FromString(spec(retries=1))
    message.task_template.metadata.retries.backoff.base.seconds = 3600
    root = await server.start(spec=message.SerializeToString())
    async with server.at_work():
        async for details in server.world.actions.watch(root):
            if details.action.attempt == 2:
                break
        await server.ground.empty()
        await server.world.actions.abort(root, "enough")
        assert (await server.end()).phase is Phase.ABORTED
    assert len(server.ground.launches) == 1


async def test_an_abort_in_the_line_makes_room_for_the_next(server: Server) -> None:
    """The first in line is offered the place and aborted at once: the place must not stay empty."""
    gate = asyncio.Event()

    async def play(process: Process) -> None:
        process.run()
        if process.launch.env["RUN_NAME"] == "r0":
            await gate.wait()
        process.exit()

    server.ground.play = play
    roots = [await server.start(f"r{n}") for n in range(4)]
    async with server.at_work(capacity=1):
        await server.reached(Phase.RUNNING, run="r0")
        gate.set()
        for root in roots[1:3]:
            await server.world.actions.abort(root, "enough")
        assert (await server.end(run="r3")).phase is Phase.SUCCEEDED
    assert server.ground.most == 1


@pytest.mark.parametrize("capacity", [1, 2])
async def test_a_recursion_ten_deep_does_not_lock_up(server: Server, capacity: int) -> None:
    async def play(process: Process) -> None:
        process.run()
        depth = 0 if process.action == ROOT else int(process.action[1:])
        if depth < 10:
            ends = await process.call(f"d{depth + 1}")
            assert set(ends.values()) == {Phase.SUCCEEDED}
        process.exit()

    server.ground.play = play
    await server.start()
    async with server.at_work(capacity):
        assert (await server.end()).phase is Phase.SUCCEEDED
        await server.ground.empty()
    assert len(server.ground.launches) == 11


async def test_parents_that_wait_leave_their_places_to_their_children(server: Server) -> None:
    """Six parents of three children each, two places: all end, and no more than two children run at once."""
    busy, most = 0, 0

    async def play(process: Process) -> None:
        nonlocal busy, most
        process.run()
        if process.action == ROOT:
            await process.call("x", "y", "z")
        else:
            busy += 1
            most = max(most, busy)
            await asyncio.sleep(0)
            busy -= 1
        process.exit()

    server.ground.play = play
    async with server.at_work(capacity=2):
        await asyncio.gather(*(server.start(f"r{n}") for n in range(6)))
        ends = await asyncio.gather(*(server.end(run=f"r{n}") for n in range(6)))
    assert {e.phase for e in ends} == {Phase.SUCCEEDED}
    assert most <= 2


async def test_a_parent_that_fails_takes_its_children_with_it(server: Server) -> None:
    async def play(process: Process) -> None:
        process.run()
        if process.action != ROOT:
            await asyncio.Event().wait()
        run = server.world.id(ROOT).run
        await server.world.actions.enqueue(run, child("x"))
        await server.reached(Phase.RUNNING, "x")
        process.exit(1)

    server.ground.play = play
    await server.start()
    async with server.at_work():
        assert (await server.end()).phase is Phase.FAILED
        assert (await server.end("x")).phase is Phase.ABORTED
        await server.ground.empty()


async def test_a_child_runs_on_while_its_parent_is_tried_again(server: Server) -> None:
    """The second attempt asks for the same child, waits for it, and is told of its failure."""
    told: list[dict[str, Phase]] = []
    failing = asyncio.Event()

    async def play(process: Process) -> None:
        process.run()
        if process.action == "x":
            await failing.wait()
            process.exit(1)
        elif process.attempt == 1:
            await server.world.actions.enqueue(server.world.id(ROOT).run, child("x"))
            await server.reached(Phase.RUNNING, "x")
            process.vanish()
        else:
            calling = asyncio.ensure_future(process.call("x"))
            async for details in server.world.actions.watch(server.world.id("x")):
                if details.action.parent_attempt == 2:
                    break
            failing.set()
            told.append(await calling)
            process.exit()

    server.ground.play = play
    await server.start()
    async with server.at_work():
        assert (await server.end()).phase is Phase.SUCCEEDED
    assert told == [{"x": Phase.FAILED}]
    assert [launch.env["ACTION_NAME"] for launch in server.ground.launches].count("x") == 1


async def test_a_sweep_ends_what_belongs_to_no_row(server: Server) -> None:
    server.ground.play = _sleep
    await server.start()
    env = {"ACTION_NAME": "x", "FLYTE_ATTEMPT_NUMBER": "0", "RUN_NAME": "gone"}
    await server.ground.submit(Launch("gone-x.0123456789ab.1", ("x",), env))
    async with server.at_work():
        await server.reached(Phase.RUNNING)
        while len(await server.ground.names()) > 1:
            await asyncio.sleep(0)
        assert await server.ground.names() == [attempt_name(server.world.id(ROOT), 1)]


async def test_a_new_server_takes_over_what_runs(server: Server) -> None:
    gate = asyncio.Event()

    async def play(process: Process) -> None:
        process.run()
        await gate.wait()
        process.exit()

    server.ground.play = play
    await server.start()
    async with server.at_work():
        await server.reached(Phase.RUNNING)
    async with server.at_work():
        gate.set()
        assert (await server.end()).phase is Phase.SUCCEEDED
    assert list(server.ground.started.values()) == [1]


async def test_a_new_server_counts_what_runs_already(server: Server) -> None:
    gate = asyncio.Event()

    async def play(process: Process) -> None:
        process.run()
        await gate.wait()
        process.exit()

    server.ground.play = play
    await server.start("r0")
    async with server.at_work(capacity=1):
        await server.reached(Phase.RUNNING, run="r0")
    await server.start("r1")
    async with server.at_work(capacity=1):
        await server.start("r2")
        for _ in range(100):  # enough for r1 to be started, if it is
            await server.world.database.write(nothing)
        gate.set()
        await asyncio.gather(*(server.end(run=run) for run in ("r0", "r1", "r2")))
    assert server.ground.most == 1


async def test_a_new_server_learns_what_happened_meanwhile(server: Server) -> None:
    async def play(process: Process) -> None:
        process.run()
        await process.write("outputs.pb")

    server.ground.play = play
    await server.start(spec=spec(outputs=True))
    async with server.at_work():
        running = await server.reached(Phase.RUNNING)
    server.ground.see(attempt_name(running.id, 1), presence=Presence.EXITED, exit_code=0)
    async with server.at_work():
        assert (await server.end()).phase is Phase.SUCCEEDED
        await server.ground.empty()


_SWEEPS = ("names", "queue", "orphans")  # what fails there is tried again by the next sweep


class Failing:
    """Somebody else's methods, of which one fails a few times before it works."""

    def __init__(self, whole: Any, method: str, error: Exception, times: int = 2) -> None:
        self._whole, self._method, self._error, self.left = whole, method, error, times

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._whole, name)
        if name != self._method:
            return found

        async def fail_first(*args: Any, **kwargs: Any) -> Any:
            if self.left:
                self.left -= 1
                raise self._error
            return await found(*args, **kwargs)

        return fail_first


@pytest.mark.parametrize("error", [Stale("moved on"), Unavailable("disk full"), ValueError("a bug")])
@pytest.mark.parametrize("method", ["observe", "submit", "release", "names"])
async def test_a_machine_that_fails_for_a_while(
    server: Server, method: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    if method in _SWEEPS:
        monkeypatch.setattr("alula.reconciler.loop._TICK", 0.01)
    failing = Failing(server.ground, method, error)
    await server.start()
    async with server.at_work(executor=failing):
        assert (await server.end()).phase is Phase.SUCCEEDED
        await server.ground.empty()
    assert list(server.ground.started.values()) == [1]
    assert failing.left == 0


@pytest.mark.parametrize("error", [Stale("moved on"), Unavailable("disk full"), ValueError("a bug")])
@pytest.mark.parametrize("method", ["read", "plan", "moved", "retry", "settle", "queue", "orphans"])
async def test_rows_that_cannot_be_written_for_a_while(
    server: Server, method: str, error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def play(process: Process) -> None:
        process.run()
        if process.attempt == 1:
            await server.reached(Phase.RUNNING)
            await process.error("E")
        process.exit()

    caplog.set_level(logging.CRITICAL)
    if method in _SWEEPS:
        monkeypatch.setattr("alula.reconciler.loop._TICK", 0.01)
    server.ground.play = play
    failing = Failing(server.world.attempts, method, error)
    await server.start(spec=spec(retries=1))
    async with server.at_work(attempts=failing):
        ended = await server.end()
        await server.ground.empty()
    assert (ended.phase, ended.attempt) == (Phase.SUCCEEDED, 2)
    assert set(server.ground.started.values()) == {1}
    assert failing.left == 0
