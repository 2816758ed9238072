"""Aborting, and the end of a parent: everything below ends with it, and what has ended stays as it is."""

import pytest

from alula.control import cascade
from alula.core.action import Event, Failure
from alula.core.decide import Retry
from alula.core.errors import NotFound, Stale
from alula.core.ids import ROOT
from alula.core.phase import Phase
from alula.core.retry import Budget

from .world import World, child

_ENDS = [phase for phase in Phase if phase.terminal]


async def _family(world: World) -> None:
    """a0 with x and y; below x: x1 (ended, alone) with x11, and x2."""
    root = await world.start("x", "y")
    for name, parent in [("x1", "x"), ("x2", "x"), ("x11", "x1")]:
        await world.actions.enqueue(root.id.run, child(name, parent))
    await _end_alone(world, "x1", Phase.SUCCEEDED)


async def _end_alone(world: World, name: str, phase: Phase) -> None:
    """An action ends, and the server dies before what is below it ends with it."""
    action, now = await world.get(name), world.clock()
    event = Event(name, action.attempt, phase, 0, now)
    await world.database.write(lambda tx: cascade.end(tx, action, [event], now))


async def test_everything_below_ends(world: World) -> None:
    """Case C30: with the reason."""
    await _family(world)
    await world.actions.abort(world.id("x"), "enough")
    assert await world.phases(ROOT, "y", "x1") == [Phase.QUEUED, Phase.QUEUED, Phase.SUCCEEDED]
    for name in ("x", "x2", "x11"):
        found = await world.get(name)
        assert (found.phase, found.abort_reason, found.failure) == (Phase.ABORTED, "enough", None)
        assert found.ended_at is not None
    assert {a.id.name for a in await world.attempts.queue()} == {ROOT, "y"}


async def test_a_whole_run(world: World) -> None:
    await _family(world)
    await world.actions.abort(world.id(ROOT), "")
    assert await world.phases(ROOT, "x", "y", "x1", "x2", "x11") == [
        *[Phase.ABORTED] * 3,
        Phase.SUCCEEDED,
        *[Phase.ABORTED] * 2,
    ]
    assert (await world.get(ROOT)).abort_reason == "aborted"
    assert await world.attempts.queue() == []


@pytest.mark.parametrize("end", _ENDS)
async def test_what_has_ended_stays_as_it_is(world: World, end: Phase) -> None:
    """Case C3, of each terminal phase."""
    await world.start("x")
    await world.move("x", end)
    before = await world.get("x")
    await world.actions.abort(world.id("x"), "too late")
    assert await world.get("x") == before


async def test_what_an_ended_action_left_running_is_ended(world: World) -> None:
    await _family(world)
    await world.actions.abort(world.id("x1"), "clean up")
    assert await world.phases("x1", "x11", "x") == [Phase.SUCCEEDED, Phase.ABORTED, Phase.QUEUED]


async def test_twice_is_once(world: World) -> None:
    await world.start("x")
    await world.actions.abort(world.id(ROOT), "first")
    before = [await world.get(ROOT), await world.get("x")]
    await world.actions.abort(world.id(ROOT), "second")
    assert [await world.get(ROOT), await world.get("x")] == before


@pytest.mark.parametrize(("name", "run"), [("missing", "r"), (ROOT, "missing")])
async def test_what_is_not_there(world: World, name: str, run: str) -> None:
    await world.start()
    with pytest.raises(NotFound, match="missing"):
        await world.actions.abort(world.id(name, run), "")


@pytest.mark.parametrize("end", _ENDS)
async def test_children_end_with_their_parent(world: World, end: Phase) -> None:
    await _family(world)
    await world.move("y", Phase.RUNNING)
    await world.move(ROOT, end)
    for name in ("x", "y", "x2", "x11"):
        found = await world.get(name)
        assert found.phase is Phase.ABORTED
        assert "a0" in found.abort_reason
        assert end.name in found.abort_reason
    assert await world.phases(ROOT, "x1") == [end, Phase.SUCCEEDED]


async def test_a_parent_that_is_tried_again_keeps_its_children(world: World) -> None:
    await world.start("x", "y")
    await world.move("x", Phase.RUNNING)
    await world.again(ROOT)
    assert await world.phases(ROOT, "x", "y") == [Phase.QUEUED, Phase.RUNNING, Phase.QUEUED]


async def test_an_end_that_comes_too_late_ends_nothing(world: World) -> None:
    """The row moved on since the reconciler read it: neither it nor a child is touched."""
    await world.start("x")
    old = await world.get(ROOT)
    await world.move(ROOT, Phase.RUNNING)
    end = Event(ROOT, 1, Phase.FAILED, 0, world.clock(), failure=Failure("E", ""))
    with pytest.raises(Stale):
        await world.attempts.settle(old, [end])
    assert await world.phases(ROOT, "x") == [Phase.RUNNING, Phase.QUEUED]


async def test_abort_wins_over_a_step_that_was_under_way(world: World) -> None:
    await world.start()
    old = await world.move(ROOT, Phase.RUNNING)
    await world.actions.abort(world.id(ROOT), "enough")
    end = Event(ROOT, 1, Phase.SUCCEEDED, 0, world.clock())
    with pytest.raises(Stale):
        await world.attempts.settle(old, [end])
    with pytest.raises(Stale):
        await world.attempts.retry(old, [end], Retry(Failure("E", "it broke"), world.clock.now, Budget.OURS))
    with pytest.raises(Stale):
        await world.attempts.moved(old, Event(ROOT, 1, Phase.RUNNING, 0, world.clock()))
    assert await world.phases(ROOT) == [Phase.ABORTED]


async def test_more_than_is_ended_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cascade, "_SOME", 3)
    root = await world.start(*(f"c{n}" for n in range(9)))
    for n in range(9):
        await world.actions.enqueue(root.id.run, child(f"d{n}", f"c{n}"))
    await world.actions.abort(root.id, "enough")
    assert await world.attempts.queue() == []


async def test_what_a_crash_left_of_an_abort_is_found(world: World) -> None:
    """Case C30."""
    await _family(world)
    await _end_alone(world, ROOT, Phase.FAILED)
    await world.attempts.orphans()
    for name in ("x", "y", "x2", "x11"):
        found = await world.get(name)
        assert found.phase is Phase.ABORTED
        assert "ended" in found.abort_reason
    assert await world.phases(ROOT, "x1") == [Phase.FAILED, Phase.SUCCEEDED]


async def test_no_orphans(world: World) -> None:
    """What belongs to a parent that lives, or is tried again, is left alone."""
    await world.start("x", "y")
    await world.move("x", Phase.RUNNING)
    await world.again(ROOT)
    await world.attempts.orphans()
    assert await world.phases(ROOT, "x", "y") == [Phase.QUEUED, Phase.RUNNING, Phase.QUEUED]


async def test_a_late_cascade_spares_the_next_attempt(world: World) -> None:
    """The parent of x is tried again and asks for x anew, before what was below the failed x has been ended."""
    root = await world.start("x")
    await _end_alone(world, "x", Phase.FAILED)
    failed = await world.get("x")
    await world.again(ROOT)
    await world.actions.enqueue(root.id.run, child("x"))
    await world.actions.enqueue(root.id.run, child("x1", "x"))
    await cascade.abort_below(world.database, world.clock, failed, cascade.Why("late"))
    assert await world.phases("x", "x1") == [Phase.QUEUED, Phase.QUEUED]
