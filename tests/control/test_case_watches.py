"""Cases of watches, on both databases: how they begin, that nothing is lost or told twice, and how they end."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from flyteidl2.core import literals_pb2, types_pb2
from flyteidl2.workflow import run_definition_pb2
from flyteidl2.workflow.run_service_pb2 import WatchActionsResponse

from alula.control import trees
from alula.core.action import Details, Event, Failure, Kind, NewAction, Note, TaskRef
from alula.core.errors import Aborted, Unavailable
from alula.core.ids import ROOT
from alula.core.phase import Phase
from alula.core.view import Sieve
from alula.storage import actions as store

from .world import World, child

_BOOLEAN = types_pb2.LiteralType(simple=types_pb2.BOOLEAN)
_YES = literals_pb2.Literal(scalar={"primitive": {"boolean": True}}).SerializeToString(deterministic=True)
_RUNNING = Sieve((frozenset({Phase.RUNNING}),))
End = Callable[[World], Awaitable[Any]]


def _condition() -> NewAction:
    asked = run_definition_pb2.ConditionAction(name="ok?", type=_BOOLEAN).SerializeToString()
    task = TaskRef(name="ok?", type="BOOLEAN")
    return child("x", kind=Kind.CONDITION, phase=Phase.PAUSED, spec=asked, task=task)


async def _time_out(world: World) -> None:
    action = await world.get("x")
    told = Event("x", 1, Phase.TIMED_OUT, 0, world.clock(), failure=Failure("ConditionTimedOut", "late"))
    await world.attempts.settle(action, [told])


async def _run(world: World) -> None:
    await world.move("x", Phase.RUNNING)
    await world.again("x")
    await world.move("x", Phase.SUCCEEDED)


@pytest.mark.parametrize(
    ("new", "end", "phase"),
    [
        pytest.param(child("x"), _run, Phase.SUCCEEDED, id="a task"),
        pytest.param(child("x"), lambda w: w.actions.abort(w.id("x"), "no"), Phase.ABORTED, id="abort before start"),
        pytest.param(child("x"), lambda w: w.actions.abort(w.id(ROOT), "no"), Phase.ABORTED, id="abort of the run"),
        pytest.param(child("x", spec=b""), lambda w: w.report("x", Phase.FAILED), Phase.FAILED, id="a spec of nothing"),
        pytest.param(_condition(), lambda w: w.conditions.signal(w.id("x"), _YES, "me"), Phase.SUCCEEDED, id="signal"),
        pytest.param(_condition(), _time_out, Phase.TIMED_OUT, id="timeout"),
        pytest.param(
            _condition(), lambda w: w.actions.abort(w.id("x"), "no"), Phase.ABORTED, id="abort of a condition"
        ),
        pytest.param(
            child("x", kind=Kind.TRACE, phase=Phase.FAILED, hosted=False),
            lambda w: w.get("x"),
            Phase.FAILED,
            id="trace",
        ),
    ],
)
async def test_the_last_message_is_of_the_end(world: World, new: NewAction, end: End, phase: Phase) -> None:
    """Case C6: status and last attempt are terminal in the last message, and in no other; then the stream ends."""
    root = await world.start()
    await world.actions.enqueue(root.id.run, new)
    told: list[Details] = []

    async def read() -> None:
        async for details in world.actions.watch(world.id("x")):
            told.append(details)

    async with asyncio.timeout(20):
        reading = asyncio.create_task(read())
        while not told:
            await asyncio.sleep(0)
        await end(world)
        await reading
    *before, last = told
    assert (last.action.phase, last.attempts[-1].phase) == (phase, phase)
    assert last.attempts[-1].end is not None
    assert not any(details.action.phase.terminal for details in before)


async def test_a_child_that_is_told_of_after_its_parent_failed(world: World) -> None:
    """Case C5: the parent stays failed, and its attempts are as they were."""
    root = await world.start("x")
    await world.move("x", Phase.FAILED)
    before = await world.get("x")
    with pytest.raises(Aborted):
        await world.actions.enqueue(root.id.run, child("late", "x"))
    await world.report("x", Phase.RUNNING)
    after = await world.get("x")
    assert (after.phase, after.attempt, after.version) == (before.phase, before.attempt, before.version)


@pytest.mark.parametrize("new", [child("x"), _condition(), child("x", kind=Kind.TRACE, phase=Phase.SUCCEEDED)])
async def test_enqueued_twice_it_is_one_action(world: World, new: NewAction) -> None:
    """Case C16: both times it is fine, for a task, a condition and a trace."""
    root = await world.start()
    for _ in range(2):
        await world.actions.enqueue(root.id.run, new)
    details = await world.actions.details(world.id("x"))
    assert (details.action.phase, len(details.attempts)) == (new.phase, 1)


class Told:
    """What a watcher of a tree knows from what it was told."""

    def __init__(self, watch: AsyncIterator[WatchActionsResponse]) -> None:
        self._watch = watch
        self.phases: dict[str, Phase] = {}
        self.gone: list[str] = []

    async def read(self) -> None:
        message = await asyncio.wait_for(anext(self._watch), 20)
        for enriched in message.enriched_actions:
            name = enriched.action.id.name
            if enriched.meets_filter:
                self.phases[name] = Phase(enriched.action.status.phase)
            else:
                self.gone.append(name)
                self.phases.pop(name, None)  # a slow one may never have been told of it

    async def close(self) -> None:
        await self._watch.aclose()  # type: ignore[attr-defined]

    async def until(self, phases: dict[str, Phase]) -> None:
        while self.phases != phases:
            await self.read()


async def test_only_what_passes_and_its_ancestors(world: World) -> None:
    """What stops passing is told of once; ancestors come with what passes, and go with it."""
    root = await world.start("x", "y")
    await world.actions.enqueue(root.id.run, child("x1", "x"))
    told = Told(world.actions.watch_tree(root.id.run, "", _RUNNING))
    await world.move("x1", Phase.RUNNING)
    await told.until({"a0": Phase.QUEUED, "x": Phase.QUEUED, "x1": Phase.RUNNING})
    await world.move("y", Phase.RUNNING)
    await told.until({"a0": Phase.QUEUED, "x": Phase.QUEUED, "x1": Phase.RUNNING, "y": Phase.RUNNING})
    await world.move("x1", Phase.SUCCEEDED)
    await told.until({"a0": Phase.QUEUED, "y": Phase.RUNNING})
    assert sorted(told.gone) == ["x", "x1"]
    await world.move("x", Phase.SUCCEEDED)
    await world.move("y", Phase.SUCCEEDED)
    await told.until({})
    assert sorted(told.gone) == ["a0", "x", "x1", "y"], "each once"
    late = Told(world.actions.watch_tree(root.id.run, "", _RUNNING))
    await world.move(ROOT, Phase.RUNNING)
    await late.until({"a0": Phase.RUNNING})
    assert late.gone == []


async def test_children_before_parents_at_one_time(world: World) -> None:
    """Case C7: rows in any order, of one moment, with names that begin with digits: the tree is whole, and no error."""
    root = await world.start()
    names = [f"{n}x" for n in range(9)]
    parents = dict(zip(names, [ROOT, *names], strict=False))
    for name, parent in parents.items():
        await world.actions.enqueue(root.id.run, child(name, parent))
    at = 1_772_600_000_000_000
    await world.database.write(lambda tx: tx.execute("UPDATE actions SET created_at = :at, seq = 100", {"at": at}))
    for seq, name in enumerate(reversed(names)):
        await world.database.write(
            lambda tx, seq=seq, name=name: tx.execute(  # type: ignore[misc]
                "UPDATE actions SET seq = :seq WHERE name = :name", {"seq": seq, "name": name}
            )
        )
    below: dict[str, int] = {}
    async for message in world.actions.watch_tree(root.id.run, "", Sieve()):
        below |= {e.action.id.name: sum(e.children_phase_counts.values()) for e in message.enriched_actions}
        if below.get(ROOT) == len(names):
            break
    assert below == {name: len(names) - n for n, name in enumerate([ROOT, *names])}


async def test_readers_of_any_pace_and_filter_end_with_the_truth(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Case C8: whoever stalls finds the state as it is, each action once, and nothing was kept for it meanwhile."""
    monkeypatch.setattr(trees, "_BATCH", 5)
    monkeypatch.setattr(trees, "_SOME", 3)
    chance = random.Random(5)
    names = [f"n{n}" for n in range(40)]
    root = await world.start(*names)
    sieves = [Sieve(), _RUNNING, Sieve((frozenset({Phase.SUCCEEDED, Phase.FAILED}),))]

    async def live(name: str) -> None:
        for phase in (Phase.RUNNING, chance.choice([Phase.SUCCEEDED, Phase.FAILED])):
            await world.move(name, phase)
            for _ in range(chance.randrange(30)):
                await asyncio.sleep(0)

    async def watch(sieve: Sieve, stall: int) -> tuple[Sieve, dict[str, Phase]]:
        told = Told(world.actions.watch_tree(root.id.run, "", sieve))
        for _ in range(stall):
            await asyncio.sleep(0)
        while not over.is_set() or told.phases != expected(sieve):
            await told.read()
        await told.close()
        return sieve, told.phases

    def expected(sieve: Sieve) -> dict[str, Phase]:
        shown = {name: phase for name, phase in truth.items() if sieve.passes(phase, "main")}
        return {**shown, **({ROOT: Phase.RUNNING} if shown else {})}

    over = asyncio.Event()
    truth: dict[str, Phase] = {}
    await world.move(ROOT, Phase.RUNNING)
    watchers = [asyncio.create_task(watch(sieve, stall)) for sieve in sieves for stall in (0, 10, 200, 1000)]
    await asyncio.gather(*map(live, names))
    truth |= {**dict(zip(names, await world.phases(*names), strict=True)), ROOT: Phase.RUNNING}
    over.set()
    await world.report(ROOT, Phase.RUNNING, version=9)  # everybody has something to read once more
    async with asyncio.timeout(30):
        found = await asyncio.gather(*watchers)
    assert all(phases == expected(sieve) for sieve, phases in found)
    async with asyncio.timeout(10):  # nobody watches any more: the tail ends, too
        while world.changes._watches:
            await asyncio.sleep(0)


async def test_one_tail_for_all_who_watch_a_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    root = await world.start(*(f"n{n}" for n in range(20)))
    reads = 0
    changed_after = store.changed_after

    async def counted(*arguments: Any) -> Any:
        nonlocal reads
        reads += 1
        return await changed_after(*arguments)

    monkeypatch.setattr(store, "changed_after", counted)
    watchers = [Told(world.actions.watch_tree(root.id.run, "", Sieve())) for _ in range(50)]
    truth = dict.fromkeys([ROOT, *(f"n{n}" for n in range(20))], Phase.QUEUED)
    await asyncio.gather(*(told.until(truth) for told in watchers))
    await world.move("n7", Phase.RUNNING)
    await asyncio.gather(*(told.until(truth | {"n7": Phase.RUNNING}) for told in watchers))
    assert reads <= 5


async def test_an_error_of_the_database_reaches_who_watches(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    root = await world.start()
    told = Told(world.actions.watch_tree(root.id.run, "", Sieve()))
    await told.read()

    async def broken(*_: Any) -> Any:
        raise Unavailable("gone")

    monkeypatch.setattr(store, "changed_after", broken)
    await world.move(ROOT, Phase.RUNNING)
    with pytest.raises(Unavailable, match="gone"):
        await told.read()


async def test_each_cluster_event_exactly_once(world: World) -> None:
    """Case C12: 1,200 of them, some told of late and some while others are: each once, and the watch ends."""
    await world.start("x")
    start = world.clock.now
    events = [
        Event("x", 1, Phase.RUNNING, n, start + timedelta(seconds=n), notes=(Note(start, f"note {n}"),))
        for n in range(1200)
    ]
    random.Random(3).shuffle(events)
    seen: list[str] = []

    async def read() -> None:
        async for notes in world.actions.watch_notes(world.id("x"), 1):
            seen.extend(note.text for note in notes)

    await world.attempts.record([(world.id("x"), event) for event in events[:400]])
    reading = asyncio.create_task(read())
    parts = [events[400:900], events[850:1100], events[1050:]]  # some come twice
    await asyncio.gather(*(world.attempts.record([(world.id("x"), event) for event in part]) for part in parts))
    await world.report("x", Phase.SUCCEEDED, version=1)
    async with asyncio.timeout(30):
        await reading
    assert len(seen) == 1200
    assert set(seen) == {f"note {n}" for n in range(1200)}
