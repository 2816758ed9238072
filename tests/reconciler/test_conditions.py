"""Conditions at work: they pause, nothing runs for them, and their patience ends."""

from dataclasses import replace

from flyteidl2.core import types_pb2
from flyteidl2.workflow import run_definition_pb2

from alula.core.action import Kind, NewAction, Policy, TaskRef
from alula.core.phase import Phase
from tests.control.world import BASE, child

from .ground import Process, succeed
from .server import Server


def condition(name: str = "c", patience: float = 0.0) -> NewAction:
    asked = run_definition_pb2.ConditionAction(name="ok?", type=types_pb2.LiteralType(simple=types_pb2.BOOLEAN))
    return replace(
        child(name),
        kind=Kind.CONDITION,
        phase=Phase.PAUSED,
        spec=asked.SerializeToString(),
        policy=Policy(patience=patience),
        task=TaskRef(name="ok?", type="BOOLEAN"),
        base_uri=BASE,
    )


async def _wait(process: Process) -> None:
    process.run()
    run = process.ground.world.id("a0")
    await process.ground.world.actions.enqueue(run.run, condition(patience=process.ground.patience))
    async for batch in process.ground.world.actions.watch_children(run):
        if any(c.phase.terminal for c in batch or ()):
            break
    await succeed(process)


async def test_a_condition_that_nobody_answers_times_out(server: Server) -> None:
    server.ground.patience = 0.05
    server.ground.play = _wait
    await server.start()
    async with server.at_work():
        ended = await server.end()
        await server.ground.empty()
    assert ended.phase is Phase.SUCCEEDED
    timed_out = await server.world.get("c")
    assert timed_out.phase is Phase.TIMED_OUT
    assert timed_out.failure is not None
    assert timed_out.failure.code == "ConditionTimedOut"
    (attempt,) = await server.story("c")
    assert [t.phase for t in attempt.transitions] == [Phase.PAUSED, Phase.TIMED_OUT]
    assert all(launch.env["ACTION_NAME"] == "a0" for launch in server.ground.launches), "nothing runs for a condition"


async def test_its_patience_goes_on_while_no_server_is_there(server: Server) -> None:
    """A server that comes back finds what has timed out meanwhile."""
    await server.start()
    await server.world.actions.enqueue(server.world.id("a0").run, condition(patience=0.001))
    server.ground.play = _pauses
    async with server.at_work():
        assert (await server.reached(Phase.TIMED_OUT, "c")).phase is Phase.TIMED_OUT


async def _pauses(process: Process) -> None:
    process.run()


async def test_a_condition_ends_with_its_parent(server: Server) -> None:
    async def play(process: Process) -> None:
        process.run()
        await process.ground.world.actions.enqueue(process.ground.world.id("a0").run, condition())
        process.exit(1)

    server.ground.play = play
    await server.start()
    async with server.at_work():
        assert (await server.end()).phase is Phase.FAILED
        assert (await server.end("c")).phase is Phase.ABORTED
