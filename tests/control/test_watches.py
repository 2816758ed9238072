"""Watches: all there is, a mark, then every change; none lost, and the last one is always the truth."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from alula.control import actions as module
from alula.control import trees
from alula.core.action import Action
from alula.core.errors import NotFound
from alula.core.ids import ROOT
from alula.core.phase import Phase
from alula.core.view import Sieve

from .world import World, child

Told = list[tuple[str, Phase]]


async def _snapshot(watch: AsyncIterator[list[Action] | None]) -> Told:
    """Everything up to the mark."""
    found: Told = []
    async for batch in watch:
        if batch is None:
            return found
        found += _told(batch)
    raise AssertionError("the watch ended")


def _told(batch: list[Action] | None) -> Told:
    return [(a.id.name, a.phase) for a in batch or []]


async def test_children_then_the_mark_then_changes(world: World) -> None:
    """Case C15."""
    await world.start("x", "y")
    watch = world.actions.watch_children(world.id(ROOT))
    assert await _snapshot(watch) == [("x", Phase.QUEUED), ("y", Phase.QUEUED)]
    await world.move("y", Phase.RUNNING)
    assert _told(await anext(watch)) == [("y", Phase.RUNNING)]
    await world.actions.enqueue(world.id(ROOT).run, child("z"))
    await world.actions.enqueue(world.id(ROOT).run, child("deeper", "x"))
    await world.move("x", Phase.SUCCEEDED)
    assert _told(await anext(watch)) == [("z", Phase.QUEUED), ("x", Phase.SUCCEEDED)]
    await watch.aclose()  # type: ignore[attr-defined]
    assert not world.changes._watches


async def test_without_children_the_mark_comes_first(world: World) -> None:
    await world.start()
    watch = world.actions.watch_children(world.id(ROOT))
    assert await anext(watch) is None
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(watch), 0.01)


async def test_the_mark_comes_once_after_many_batches(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BATCH", 3)
    names = [f"c{n}" for n in range(10)]
    await world.start(*names)
    watch = world.actions.watch_children(world.id(ROOT))
    assert [name for name, _ in await _snapshot(watch)] == names
    await world.move("c3", Phase.RUNNING)
    assert _told(await anext(watch)) == [("c3", Phase.RUNNING)]


async def test_who_goes_on_is_told_of_with_who_ends(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SOON", 3600.0)
    await world.start("x", "y")
    watch = world.actions.watch_children(world.id(ROOT))
    await _snapshot(watch)
    news = asyncio.ensure_future(anext(watch))
    await world.move("x", Phase.RUNNING)
    assert not (await asyncio.wait({news}, timeout=0.05))[0]
    await world.move("y", Phase.SUCCEEDED)
    assert _told(await news) == [("x", Phase.RUNNING), ("y", Phase.SUCCEEDED)]


async def test_a_slow_reader_gets_the_final_state(world: World) -> None:
    """Case C15."""
    await world.start("x", "y")
    watch = world.actions.watch_children(world.id(ROOT))
    await _snapshot(watch)
    for phase in (Phase.INITIALIZING, Phase.RUNNING):
        await world.move("x", phase)
    for _ in range(5):
        await world.again("x")
    await world.move("x", Phase.FAILED)
    await world.move("y", Phase.SUCCEEDED)
    told = await anext(watch) or []
    assert [(a.id.name, a.phase, a.attempt) for a in told] == [("x", Phase.FAILED, 6), ("y", Phase.SUCCEEDED, 1)]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(watch), 0.01)


async def test_failures_under_an_earlier_attempt_are_hidden(world: World) -> None:
    root = await world.start("failed", "aborted", "done", "running")
    await world.move("failed", Phase.FAILED)
    await world.actions.abort(world.id("aborted"), "")
    await world.move("done", Phase.SUCCEEDED)
    await world.move("running", Phase.RUNNING)
    await world.again(ROOT)
    watch = world.actions.watch_children(root.id)
    assert await _snapshot(watch) == [("done", Phase.SUCCEEDED), ("running", Phase.RUNNING)]
    await world.actions.enqueue(root.id.run, child("failed"))
    assert _told(await anext(watch)) == [("failed", Phase.QUEUED)]
    await world.move("failed", Phase.FAILED)
    assert _told(await anext(watch)) == [("failed", Phase.FAILED)], "a failure under this attempt is told"


async def test_watching_the_children_of_nobody(world: World) -> None:
    await world.start()
    with pytest.raises(NotFound):
        await anext(world.actions.watch_children(world.id("missing")))


async def test_a_watch_ends_with_its_action(world: World) -> None:
    await world.start("x")
    phases = []
    async for details in world.actions.watch(world.id("x")):
        phases.append(details.action.phase)
        if details.action.phase is Phase.QUEUED:
            await world.move("x", Phase.RUNNING)
        elif details.action.phase is Phase.RUNNING:
            await world.move("x", Phase.SUCCEEDED)
    assert phases == [Phase.QUEUED, Phase.RUNNING, Phase.SUCCEEDED]
    assert [d.action.phase async for d in world.actions.watch(world.id("x"))] == [Phase.SUCCEEDED]
    assert not world.changes._watches


async def test_a_watch_of_nothing(world: World) -> None:
    await world.start()
    with pytest.raises(NotFound):
        await anext(world.actions.watch(world.id("missing")))


async def test_nothing_is_lost_to_watchers_who_come_at_any_moment(world: World) -> None:
    """Children are made and run to their ends, while readers come and go: each knows the truth in the end."""
    names = [f"c{n}" for n in range(15)]
    root = await world.start()
    chance = random.Random(3)

    async def live(name: str) -> None:
        await world.actions.enqueue(root.id.run, child(name))
        await world.move(name, Phase.RUNNING)
        if chance.random() < 0.5:
            await world.again(name)
        await world.move(name, chance.choice([Phase.SUCCEEDED, Phase.FAILED]))

    async def reader(delay: int) -> dict[str, Phase]:
        for _ in range(delay):
            await asyncio.sleep(0)
        seen: dict[str, Phase] = {}
        marks = 0
        async for batch in world.actions.watch_children(root.id):
            seen |= dict(_told(batch))
            marks += batch is None
            if len(seen) == len(names) and all(phase.terminal for phase in seen.values()) and marks == 1:
                return seen
        raise AssertionError("the watch ended")

    async with asyncio.timeout(30):
        readers = [asyncio.create_task(reader(chance.randrange(400))) for _ in range(30)]
        await asyncio.gather(*map(live, names))
        found = await asyncio.gather(*readers)
    truth = dict(zip(names, await world.phases(*names), strict=True))
    assert all(seen == truth for seen in found)


async def test_a_tree_counts_what_is_below(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """After every change, what the watch has told so far equals a count of the rows; batches as small as they get."""
    monkeypatch.setattr(trees, "_BATCH", 2)
    chance = random.Random(11)
    root = await world.start("n0")
    parents: dict[str, str] = {"n0": ROOT}
    told: dict[str, tuple[Phase, dict[Phase, int]]] = {}
    watch = world.actions.watch_tree(root.id.run, "", Sieve())

    async def catch_up() -> None:
        below = await _recount(world, parents)
        truth = {name: (await _phase(world, name), below[name]) for name in [ROOT, *parents]}
        while told != truth:
            message = await asyncio.wait_for(anext(watch), 5)
            for e in message.enriched_actions:
                counts = {Phase(phase): count for phase, count in e.children_phase_counts.items()}
                told[e.action.id.name] = Phase(e.action.status.phase), counts

    for n in range(1, 40):
        living = [name for name in [ROOT, *parents] if not (await _phase(world, name)).terminal]
        if chance.random() < 0.5 or len(living) == 1:
            name = f"n{n}"
            parents[name] = chance.choice(living)
            await world.actions.enqueue(root.id.run, child(name, parents[name]))
        else:
            await world.move(chance.choice(living[1:]), chance.choice([Phase.RUNNING, Phase.SUCCEEDED, Phase.FAILED]))
        if chance.random() < 0.7:
            await catch_up()
    await catch_up()
    assert len(told) == len(parents) + 1


async def _phase(world: World, name: str) -> Phase:
    return (await world.get(name)).phase


async def _recount(world: World, parents: dict[str, str]) -> dict[str, dict[Phase, int]]:
    counts: dict[str, Counter[Phase]] = {name: Counter() for name in [ROOT, *parents]}
    for name in parents:
        phase = await _phase(world, name)
        above: str | None = parents[name]
        while above is not None:
            counts[above][phase] += 1
            above = parents.get(above)
    return {name: dict(count) for name, count in counts.items()}
