"""Case C24, its part on groups: all of them, the mark, and then only those that change."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from alula.control import groups as module
from alula.control.groups import Groups, Told
from alula.core.action import Blame, Event, Failure
from alula.core.groups import Group, GroupScope
from alula.core.ids import ROOT
from alula.core.pages import Order, Where
from alula.core.pages import Test as By
from alula.core.phase import Phase

from .world import NOW, World, creation, no_chance, spec

SCOPE = GroupScope("p", "development", NOW)


async def _start(world: World, run: str, task: str, by: str = "") -> None:
    await world.runs.create(creation(run, spec=spec(task), created_by=by), no_chance)


async def _end(world: World, run: str, phase: Phase, failure: Failure | None = None) -> datetime:
    root = await world.move(ROOT, Phase.RUNNING, run=run)
    at = world.clock()
    await world.attempts.settle(root, [Event(ROOT, 1, phase, 0, at, failure=failure)])
    return at


def _watch(world: World, scope: GroupScope = SCOPE) -> AsyncIterator[Told]:
    return Groups(world.database, world.changes).watch(scope)


async def _next(watch: AsyncIterator[Told]) -> Told:
    return await asyncio.wait_for(anext(watch), 10)


def _tasks(told: Told) -> list[str]:
    return [group.task for group in told.groups]


async def test_every_field_of_a_group(world: World) -> None:
    for name, task, by in (("r1", "one", "ann"), ("r2", "one", "bob"), ("r3", "one", "ann"), ("r4", "two", "")):
        await _start(world, name, task, by)
    begun = {name: (await world.get(ROOT, name)).created_at for name in ("r1", "r2", "r3")}
    first = await _end(world, "r1", Phase.SUCCEEDED)
    second = await _end(world, "r2", Phase.FAILED, Failure("E", "no", Blame.SYSTEM))
    told = await _next(_watch(world))
    assert told.whole
    one = next(group for group in told.groups if group.task == "one")
    started = [(await world.get(ROOT, name)).started_at for name in ("r1", "r2")]
    waits = [at - begun[name] for at, name in zip(started, ("r1", "r2"), strict=True) if at is not None]
    assert one == Group(
        task="one",
        environment="",
        short_name="main",
        phases={Phase.QUEUED: 1, Phase.SUCCEEDED: 1, Phase.FAILED: 1},
        errors={Blame.SYSTEM: 1},
        recent=(("r3", Phase.QUEUED), ("r2", Phase.FAILED), ("r1", Phase.SUCCEEDED)),
        created_by=("ann", "bob"),
        latest_run=begun["r3"],
        latest_finished=second,
        duration=(first - begun["r1"] + second - begun["r2"]) / 2,
        time_to_running=sum(waits, timedelta()) / 2,
    )
    assert one.failure_rate == pytest.approx(1 / 3)


async def test_only_what_changes_is_told_again(world: World) -> None:
    await _start(world, "r1", "one")
    await _start(world, "r2", "two")
    watch = _watch(world)
    assert _tasks(await _next(watch)) == ["two", "one"]
    await world.move(ROOT, Phase.RUNNING, run="r1")
    told = await _next(watch)
    assert (_tasks(told), told.whole, told.gone) == (["one"], False, [])
    await _start(world, "r3", "three")
    told = await _next(watch)
    assert (_tasks(told), told.groups[0].recent) == (["three"], (("r3", Phase.QUEUED),))
    world.changes.lose()
    await world.move(ROOT, Phase.RUNNING, run="r2")
    assert _tasks(await _next(watch)) == ["two"]


async def test_a_limit_is_kept_while_groups_come(world: World) -> None:
    await _start(world, "r1", "one")
    watch = _watch(world, replace(SCOPE, limit=1))
    assert _tasks(await _next(watch)) == ["one"]
    await _start(world, "r2", "two")
    told = await _next(watch)
    assert (_tasks(told), told.gone) == (["two"], ["one"])


async def test_the_end_of_a_time_is_the_end_of_the_watch(world: World) -> None:
    await _start(world, "r1", "one")
    at = (await world.get(ROOT, "r1")).created_at
    await _start(world, "r2", "two")
    inside = replace(SCOPE, start=at, end=at)
    assert [_tasks(told) async for told in _watch(world, inside)] == [["one"]], "both ends belong to it"
    nothing = replace(inside, start=NOW - timedelta(days=2), end=NOW - timedelta(days=1))
    assert [(told.groups, told.whole) async for told in _watch(world, nothing)] == [([], True)]


async def test_the_mark_comes_with_the_last_of_many(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BATCH", 2)
    for n in range(5):
        await _start(world, f"r{n}", f"t{n}")
    order = (Order("task_name", descending=False),)
    watch = _watch(world, replace(SCOPE, order=order))
    told = [await _next(watch) for _ in range(3)]
    assert [(_tasks(one), one.whole) for one in told] == [(["t0", "t1"], False), (["t2", "t3"], False), (["t4"], True)]


async def test_conditions_choose_the_runs_that_count(world: World) -> None:
    for name, task in (("r1", "one"), ("r2", "one"), ("r3", "two")):
        await _start(world, name, task)
    await world.move(ROOT, Phase.RUNNING, run="r2")
    scope = replace(SCOPE, where=(Where("phase", By.VALUE_IN, ("4",)),))
    told = await _next(_watch(world, scope))
    assert [(group.task, group.total) for group in told.groups] == [("one", 1)]
