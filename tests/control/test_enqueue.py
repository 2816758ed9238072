"""Children: accepted once, refused by a parent that has ended, and tried again by one that is."""

import asyncio

import pytest

from alula.core.action import Blame, Failure, Kind
from alula.core.errors import Aborted, Conflict, Invalid, NotFound
from alula.core.ids import ROOT, RunId
from alula.core.pages import Page
from alula.core.phase import Phase

from .world import BASE, World, child, spec

_ENDS = [phase for phase in Phase if phase.terminal]


async def test_a_child(world: World) -> None:
    root = await world.start()
    await world.actions.enqueue(root.id.run, child("x", group="g", input_uri="s3://in"))
    found = await world.get("x")
    assert (found.parent, found.phase, found.attempt, found.parent_attempt) == (ROOT, Phase.QUEUED, 1, 1)
    assert (found.group, found.input_uri, found.output_uri) == ("g", "s3://in", f"{BASE}/x/1")
    assert {a.id.name for a in await world.attempts.queue()} == {ROOT, "x"}
    assert (await world.actions.details(found.id)).spec == spec()


async def test_the_same_child_again_is_the_same_action(world: World) -> None:
    root = await world.start("x")
    before = await world.move("x", Phase.RUNNING)
    await asyncio.gather(*(world.actions.enqueue(root.id.run, child("x")) for _ in range(20)))
    assert await world.get("x") == before
    assert len((await world.actions.page(root.id.run, Page()))[0]) == 2


async def test_a_race_makes_one_child(world: World) -> None:
    root = await world.start()
    await asyncio.gather(*(world.actions.enqueue(root.id.run, child("x")) for _ in range(50)))
    details = await world.actions.details(world.id("x"))
    assert len(details.attempts) == 1
    assert details.action.version == 0


@pytest.mark.parametrize("end", _ENDS)
async def test_a_parent_that_has_ended_takes_no_more(world: World, end: Phase) -> None:
    root = await world.start("x")
    await world.move("x", Phase.SUCCEEDED)
    known = await world.get("x")
    await world.move(ROOT, end)
    with pytest.raises(Aborted, match=end.name):
        await world.actions.enqueue(root.id.run, child("y"))
    with pytest.raises(NotFound):
        await world.get("y")
    await world.actions.enqueue(root.id.run, child("x"))  # one it had already is fine
    assert await world.get("x") == known


async def test_a_run_that_was_aborted_takes_no_more(world: World) -> None:
    root = await world.start("x")
    await world.actions.abort(root.id, "enough")
    with pytest.raises(Aborted):
        await world.actions.enqueue(root.id.run, child("y"))
    with pytest.raises(Aborted):
        await world.actions.enqueue(root.id.run, child("z", "x"))


@pytest.mark.parametrize(("run", "parent"), [("r", "missing"), ("missing", ROOT)])
async def test_a_parent_that_is_not_there(world: World, run: str, parent: str) -> None:
    await world.start()
    with pytest.raises(NotFound, match="missing"):
        await world.actions.enqueue(RunId("p", "development", run), child("x", parent))


async def test_a_parent_that_runs_elsewhere_calls_nothing_here(world: World) -> None:
    """A tracked run is orchestrated elsewhere: a task in it would be nobody's to run."""
    root = await world.start()
    await world.actions.enqueue(root.id.run, child("told", hosted=False))
    with pytest.raises(Conflict, match="runs elsewhere"):
        await world.actions.enqueue(root.id.run, child("x", "told"))
    with pytest.raises(NotFound):
        await world.get("x")
    done = {"kind": Kind.TRACE, "hosted": False, "phase": Phase.SUCCEEDED}
    await world.actions.enqueue(root.id.run, child("trace", "told", **done))
    assert (await world.get("trace")).phase is Phase.SUCCEEDED


async def test_nobody_but_create_makes_a_root(world: World) -> None:
    root = await world.start()
    with pytest.raises(Invalid, match="parent_action_name"):
        await world.actions.enqueue(root.id.run, child("x", None))


@pytest.mark.parametrize("end", [Phase.FAILED, Phase.ABORTED, Phase.TIMED_OUT])
async def test_a_child_that_failed_under_an_earlier_attempt_is_tried_again(world: World, end: Phase) -> None:
    root = await world.start("x")
    await world.move("x", end)
    await world.again(ROOT)
    failed = await world.get("x")
    assert failed.phase is end, "nothing happens before the parent asks for it"
    await world.actions.enqueue(root.id.run, child("x"))
    found = await world.get("x")
    assert (found.phase, found.attempt, found.version, found.parent_attempt) == (Phase.QUEUED, 2, 0, 2)
    assert (found.ended_at, found.failure, found.abort_reason, found.logged) == (None, None, "", False)
    assert (found.user_failures, found.system_failures) == (0, 0)
    assert found.output_uri == f"{BASE}/x/2"
    attempts = (await world.actions.details(found.id)).attempts
    assert [(a.number, a.phase) for a in attempts] == [(1, end), (2, Phase.QUEUED)]
    await world.actions.enqueue(root.id.run, child("x"))
    assert await world.get("x") == found, "asked for once more, it is the same"


async def test_a_child_that_failed_under_this_attempt_stays_failed(world: World) -> None:
    root = await world.start("x")
    await world.move("x", Phase.FAILED)
    failed = await world.get("x")
    await world.actions.enqueue(root.id.run, child("x"))
    assert await world.get("x") == failed


async def test_a_child_that_succeeded_is_not_run_again(world: World) -> None:
    root = await world.start("x")
    await world.move("x", Phase.SUCCEEDED)
    await world.again(ROOT)
    done = await world.get("x")
    await world.actions.enqueue(root.id.run, child("x"))
    found = await world.get("x")
    assert (found.phase, found.attempt, found.version) == (Phase.SUCCEEDED, 1, done.version)


async def test_a_child_that_still_runs_goes_on(world: World) -> None:
    root = await world.start("x")
    await world.move("x", Phase.RUNNING)
    await world.again(ROOT)
    await world.actions.enqueue(root.id.run, child("x"))
    found = await world.get("x")
    assert (found.phase, found.attempt, found.parent_attempt) == (Phase.RUNNING, 1, 2)


async def test_a_failure_after_the_next_attempt_asked_is_that_attempts(world: World) -> None:
    """The child ran on while its parent was lost and started again: the new attempt waits for it, and is told."""
    root = await world.start("x")
    running = await world.move("x", Phase.RUNNING)
    await world.again(ROOT)
    await world.actions.enqueue(root.id.run, child("x"))
    watch = world.actions.watch_children(world.id(ROOT))
    assert await anext(watch) is not None
    assert await anext(watch) is None
    await world.move("x", Phase.FAILED)
    told = await asyncio.wait_for(anext(watch), 5)
    assert [(c.id.name, c.phase, c.attempt) for c in told or []] == [("x", Phase.FAILED, 1)]
    assert (await world.get("x")).attempt == running.attempt


async def test_a_trace_that_failed_under_an_earlier_attempt_is_told_anew(world: World) -> None:
    """Nobody runs a trace: its parent does, and waits until what it recorded is known."""
    root = await world.start()
    no = Failure("TraceFailed", "no", Blame.USER)
    trace = child("t", kind=Kind.TRACE, phase=Phase.FAILED, failure=no, output_uri="")
    await world.actions.enqueue(root.id.run, trace)
    await world.again(ROOT)
    again = child("t", kind=Kind.TRACE, phase=Phase.SUCCEEDED, output_uri=f"{BASE}/t/1/outputs.pb")
    await world.actions.enqueue(root.id.run, again)
    found = await world.get("t")
    assert (found.phase, found.attempt, found.failure) == (Phase.SUCCEEDED, 2, None)
    assert found.output_uri == again.output_uri
    assert found.ended_at is not None
    attempts = (await world.actions.details(found.id)).attempts
    assert [(a.number, a.phase, a.failure) for a in attempts] == [(1, Phase.FAILED, no), (2, Phase.SUCCEEDED, None)]
