"""After any verbs in any order, what the events say is what the row says."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alula.blobs.store import Blobs
from alula.core.action import Action, Event, Failure
from alula.core.decide import Retry
from alula.core.errors import Aborted, Stale
from alula.core.history import attempts
from alula.core.ids import ROOT
from alula.core.phase import TERMINAL, Phase
from alula.core.project import Project
from alula.core.retry import Budget
from alula.storage import actions as store
from alula.storage import runs
from alula.storage.address import Address, SqliteFile
from alula.storage.changes import Changes
from alula.storage.database import Database

from .world import DOMAINS, World, build, child

_NAMES = [ROOT, "x", "x1", "x2", "y"]
_PARENTS = {"x": ROOT, "x1": "x", "x2": "x", "y": ROOT}
_FAILURE = Failure("E", "it broke")
_VERBS = ["enqueue", "abort", "moved", "retry", "settle", "record", "stale"]

Step = tuple[str, str, Phase, int, int]  # verb, action, phase, attempt, time


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def stage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[asyncio.Runner, World]]:
    home = tmp_path_factory.mktemp("agreement")
    address: Address = SqliteFile(home / "alula.db")
    if request.param == "postgres":
        address = request.getfixturevalue("postgres").fresh()
    changes = Changes()
    with asyncio.Runner() as runner:
        runner.run(address.migrate())
        stack = AsyncExitStack()
        database = runner.run(_open(stack, address, changes))
        world = build(database, changes, Blobs(home / "objects"))
        runner.run(world.projects.domains.seed(DOMAINS))
        runner.run(world.projects.create(Project("p", "p", "", {}, 0)))
        yield runner, world
        runner.run(stack.aclose())


async def _open(stack: AsyncExitStack, address: Address, changes: Changes) -> Database:
    return await stack.enter_async_context(address.database(changes))


_steps = st.tuples(
    st.sampled_from(_VERBS),
    st.sampled_from(_NAMES),
    st.sampled_from(Phase),
    st.integers(1, 4),
    st.integers(0, 5),
)


@settings(deadline=None, max_examples=150)
@given(st.lists(_steps, min_size=1, max_size=25))
def test_the_events_are_the_row(stage: tuple[asyncio.Runner, World], steps: list[Step]) -> None:
    """Case O20."""
    runner, world = stage
    runner.run(_walk(world, steps))


async def _walk(world: World, steps: list[Step]) -> None:
    run = f"r{_count(world)}"
    root = await world.start(run=run)
    old: dict[str, Action] = {}
    for step in steps:
        before = await _rows(world, root.run_key)
        try:
            await _take(world, run, step, before, old)
        except (Stale, Aborted):
            assert await _rows(world, root.run_key) == before, "refused, and yet something changed"
        now = await _rows(world, root.run_key)
        await _check(world, root.run_key, now)
        _check_fence(before, now, step)
        old |= before


def _count(world: World) -> int:
    """A number for the next run."""
    return int((world.clock() - world.clock.now.replace(month=1, day=1, hour=0, minute=0, second=0)).total_seconds())


async def _rows(world: World, run: int) -> dict[str, Action]:
    return {a.id.name: a for a in await world.database.read(lambda tx: store.changed_after(tx, run, -1, 100))}


async def _take(world: World, run: str, step: Step, rows: dict[str, Action], old: dict[str, Action]) -> None:
    verb, name, phase, attempt, second = step
    if verb == "enqueue" and _PARENTS.get(name) in rows:
        await world.actions.enqueue(world.id(name, run).run, child(name, _PARENTS[name]))
    if name not in rows:
        return
    action = old.get(name, rows[name]) if verb == "stale" else rows[name]
    at = world.clock.now.replace(microsecond=second)
    failure = Failure(phase.name, "") if phase in (Phase.FAILED, Phase.TIMED_OUT) else None
    event = Event(name, action.attempt, phase, 0, at, failure=failure)
    if verb == "abort":
        await world.actions.abort(action.id, "enough")
    elif verb == "record":
        await world.attempts.record([(action.id, Event(name, attempt, phase, 0, at, failure=failure))])
    elif verb in ("moved", "retry", "settle", "stale") and not action.phase.terminal:
        if phase.terminal and verb == "retry":
            await world.attempts.retry(action, [event], Retry(_FAILURE, at, Budget.OURS if second > 2 else Budget.TASK))
        elif phase.terminal:
            await world.attempts.settle(action, [event])
        elif phase >= action.phase and phase is not Phase.PAUSED and action.phase is not Phase.PAUSED:
            await world.attempts.moved(action, event)


async def _check(world: World, run: int, rows: dict[str, Action]) -> None:
    seqs = []
    for name, row in rows.items():
        told = await world.database.read(lambda tx, name=name: store.events(tx, run, name))  # type: ignore[misc]
        last = attempts(told)[-1]
        assert (last.number, last.phase, last.failure) == (row.attempt, row.phase, row.failure)
        assert (last.end is not None) is (row.ended_at is not None) is row.phase.terminal
        assert row.seq == told[-1].seq
        seqs += [event.seq for event in told]
    assert sorted(seqs) == list(range(1, len(seqs) + 1))
    found = await world.database.read(lambda tx: runs.get(tx, run))
    assert found is not None
    assert found.seq == len(seqs)


def _check_fence(before: dict[str, Action], now: dict[str, Action], step: Step) -> None:
    for name, was in before.items():
        row = now[name]
        assert (row.attempt, row.version) >= (was.attempt, was.version)
        if was.phase in TERMINAL and row.phase is not was.phase:
            assert row.attempt > was.attempt, "terminal is terminal"
            assert step[0] in ("enqueue", "record"), "only who asks for another attempt leaves an end"
