"""Reports from elsewhere: late ones, repeated ones and those of other attempts."""

from dataclasses import replace
from typing import Any

import pytest

from alula.control.attempts import Attempts
from alula.core.action import Attempt, Event, Failure, Link, Note
from alula.core.errors import NotFound
from alula.core.ids import ROOT
from alula.core.phase import Phase, follows

from .world import BASE, World, child

_NO = Failure("E", "no")
_ENDS = [phase for phase in Phase if phase.terminal]


async def _attempts(world: World, name: str = "x") -> tuple[Attempt, ...]:
    return (await world.actions.details(world.id(name))).attempts


async def _bring_to(world: World, phase: Phase) -> None:
    await world.start("x")
    if phase is not Phase.QUEUED:
        await world.report("x", phase, failure=_NO if phase is Phase.FAILED else None)
    assert await world.phases("x") == [phase]


async def test_an_attempt_from_beginning_to_end(world: World) -> None:
    await world.start("x")
    await world.report("x", Phase.INITIALIZING, cluster="there")
    await world.report("x", Phase.RUNNING, logged=True, notes=(Note(world.clock.now, "pulled"),))
    await world.report("x", Phase.SUCCEEDED, output_uri="s3://o")
    found = await world.get("x")
    assert (found.phase, found.attempt, found.version, found.logged) == (Phase.SUCCEEDED, 1, 3, True)
    assert found.ended_at is not None
    (attempt,) = await _attempts(world)
    assert (attempt.cluster, attempt.output_uri, attempt.logged) == ("there", "s3://o", True)
    assert [t.phase for t in attempt.transitions] == [
        Phase.QUEUED,
        Phase.INITIALIZING,
        Phase.RUNNING,
        Phase.SUCCEEDED,
    ]
    assert [n.text for n in attempt.notes] == ["pulled"]


@pytest.mark.parametrize("reported", Phase)
@pytest.mark.parametrize("now", Phase)
async def test_only_what_follows_moves_the_row(world: World, now: Phase, reported: Phase) -> None:
    """Case C4."""
    await _bring_to(world, now)
    before = await world.get("x")
    await world.report("x", reported)
    found = await world.get("x")
    assert found.phase is (reported if follows(now, reported) else now)
    assert (await _attempts(world))[-1].phase is found.phase
    if not follows(now, reported):
        assert (found.version, found.failure, found.ended_at) == (before.version, before.failure, before.ended_at)


async def test_the_same_report_again_changes_nothing(world: World) -> None:
    await world.start("x")
    at = world.clock()
    for _ in range(3):
        await world.report("x", Phase.RUNNING, at=at)
    once = await world.get("x")
    assert once.version == 1
    end = world.clock()
    for _ in range(3):
        await world.report("x", Phase.FAILED, at=end, failure=_NO)
    ended = await world.get("x")
    for _ in range(3):
        await world.report("x", Phase.RUNNING, at=at)
    assert await world.get("x") == ended
    details = await world.actions.details(world.id("x"))
    assert [t.phase for t in details.attempts[0].transitions] == [Phase.QUEUED, Phase.RUNNING, Phase.FAILED]


async def test_a_late_note_is_kept(world: World) -> None:
    await _bring_to(world, Phase.FAILED)
    await world.report("x", Phase.RUNNING, notes=(Note(world.clock.now, "evicted"),))
    (attempt,) = await _attempts(world)
    assert (attempt.phase, [n.text for n in attempt.notes]) == (Phase.FAILED, ["evicted"])


@pytest.mark.parametrize("end", _ENDS)
async def test_a_report_of_an_end_ends_what_is_below(world: World, end: Phase) -> None:
    root = await world.start("x")
    await world.actions.enqueue(root.id.run, child("x1", "x"))
    await world.report("x", end)
    assert await world.phases("x", "x1") == [end, Phase.ABORTED]


@pytest.mark.parametrize("told", [Phase.RUNNING, Phase.SUCCEEDED])
@pytest.mark.parametrize("now", Phase)
async def test_which_rows_take_the_next_attempt(world: World, now: Phase, told: Phase) -> None:
    """Case C4: of those that have ended only one that failed or took too long; and one whose end was lost on the way.

    The attempt may begin with its end: what came before that was lost, or is still on its way.
    """
    await _bring_to(world, now)
    before = await world.get("x")
    await world.report("x", told, 2, logged=True)
    found = await world.get("x")
    attempts = await _attempts(world)
    if now in (Phase.FAILED, Phase.TIMED_OUT) or not now.terminal:
        assert (found.phase, found.attempt, found.logged) == (told, 2, True)
        assert (found.failure, found.ended_at is None) == (None, not told.terminal)
        assert found.output_uri == f"{BASE}/x/2"
        assert [(a.number, a.phase) for a in attempts] == [(1, now), (2, told)]
        assert attempts[0].failure == (_NO if now is Phase.FAILED else None)
    else:
        assert found == before
        assert [(a.number, a.phase) for a in attempts] == [(1, now)]


async def test_late_reports_of_an_earlier_attempt(world: World) -> None:
    """Case C4: a stale attempt changes nothing."""
    await _bring_to(world, Phase.FAILED)
    await world.report("x", Phase.RUNNING, 2)
    before = await world.get("x")
    for phase in (Phase.RUNNING, Phase.SUCCEEDED, Phase.ABORTED):
        await world.report("x", phase, 1, failure=Failure("Late", ""), output_uri="s3://late")
    found = await world.get("x")
    assert (found.phase, found.attempt, found.version) == (Phase.RUNNING, 2, before.version)
    first, second = await _attempts(world)
    assert (first.phase, first.failure, first.output_uri) == (Phase.FAILED, _NO, "")
    assert second.phase is Phase.RUNNING


async def test_the_end_of_an_earlier_attempt_may_come_after_the_next_began(world: World) -> None:
    await _bring_to(world, Phase.RUNNING)
    await world.report("x", Phase.RUNNING, 2)
    await world.report("x", Phase.FAILED, 1, failure=_NO)
    first, second = await _attempts(world)
    assert (first.phase, first.failure, second.phase) == (Phase.FAILED, _NO, Phase.RUNNING)
    assert (await world.get("x")).phase is Phase.RUNNING


async def test_all_or_nothing(world: World) -> None:
    await world.start("x")
    before = await world.get("x")
    events: list[Any] = [
        (world.id(name), Event(name, 1, Phase.RUNNING, 0, world.clock())) for name in ("x", ROOT, "missing")
    ]
    with pytest.raises(NotFound, match="missing"):
        await world.attempts.record(events)
    assert await world.get("x") == before
    assert await world.phases(ROOT) == [Phase.QUEUED]
    await world.attempts.record(events[:2])
    assert await world.phases(ROOT, "x") == [Phase.RUNNING, Phase.RUNNING]


# Of this server's own clusters


@pytest.fixture
def deciding(world: World) -> World:
    """A server whose attempts run in clusters: their Managers report to it."""
    return replace(world, attempts=Attempts(world.database, world.clock, world.secrets, decides=True))


@pytest.mark.parametrize("end", _ENDS)
async def test_how_an_attempt_ends_is_not_its_clusters_to_say(deciding: World, end: Phase) -> None:
    """What is told with it is kept."""
    world = deciding
    await world.start("x")
    await world.report("x", Phase.RUNNING, cluster="east")
    notes, links = (Note(world.clock.now, "pulled"),), (Link("Logs", "https://x"),)
    ended: dict[str, Any] = {"failure": _NO, "output_uri": "s3://o", "notes": notes, "links": links}
    ended["at"] = world.clock.now
    await world.report("x", end, **ended)
    await world.report("x", end, **ended)
    found = await world.get("x")
    assert (found.phase, found.failure, found.ended_at) == (Phase.RUNNING, None, None)
    (attempt,) = await _attempts(world)
    assert (attempt.phase, attempt.failure, attempt.output_uri, attempt.cluster) == (Phase.RUNNING, None, "", "east")
    assert ([note.text for note in attempt.notes], attempt.links) == (["pulled"], links)
    await world.move("x", Phase.SUCCEEDED)
    assert (await world.get("x")).phase is Phase.SUCCEEDED


async def test_no_cluster_begins_another_attempt(deciding: World) -> None:
    world = deciding
    await world.start("x")
    await world.report("x", Phase.RUNNING, attempt=2)
    found = await world.get("x")
    assert (found.phase, found.attempt) == (Phase.QUEUED, 1)
    await world.again("x")
    await world.report("x", Phase.FAILED, attempt=1, notes=(Note(world.clock.now, "late"),))
    await world.report("x", Phase.INITIALIZING, attempt=2)
    found = await world.get("x")
    assert (found.phase, found.attempt) == (Phase.INITIALIZING, 2)
