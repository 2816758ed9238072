"""Runs that are deleted: all of it, nothing else, and whatever happens in between."""

from dataclasses import replace
from datetime import timedelta

import pytest

from alula.control.retention import Retention
from alula.core.cache import CacheKey, Offer
from alula.core.errors import AlreadyExists, Conflict, NotFound
from alula.core.ids import ROOT, RunId
from alula.core.naming import attempt_name
from alula.core.pages import Page
from alula.core.phase import Phase
from alula.core.project import Project
from alula.core.retention import Removed, age_of
from alula.core.run import RunScope
from alula.storage import cache

from .test_recovery import recovering
from .world import BASE, World, child, creation, no_chance, spec

DAY = timedelta(days=1)


class Shelf:
    """Logs, by the names of their attempts."""

    def __init__(self) -> None:
        self.logs: set[str] = set()

    async def forget(self, name: str) -> bool:
        if name not in self.logs:
            return False
        self.logs.discard(name)
        return True


def retention(world: World, shelf: Shelf | None = None, **ages: timedelta) -> Retention:
    return Retention(world.database, world.blobs, world.cache, (shelf or Shelf()).forget, ages, world.clock)


async def deleted(world: World, run: str = "r", shelf: Shelf | None = None) -> Removed:
    last = Removed()
    async for removed in retention(world, shelf).delete(RunId("p", "development", run)):
        last = removed
    return last


async def ended(world: World, run: str = "r", *children: str) -> None:
    """A run that has succeeded, with something everywhere."""
    base = f"{BASE.rpartition('/')[0]}/{run}"
    root = await world.runs.create(creation(run, spec=spec(run)), no_chance)
    for name in children:
        await world.actions.enqueue(root.id.run, replace(child(name), base_uri=base, output_uri=f"{base}/{name}/1"))
        await world.blobs.put(f"{base}/{name}/1/outputs.pb", b"12345")
        await world.move(name, Phase.RUNNING, run=run)
        await world.move(name, Phase.SUCCEEDED, run=run)
    await world.move(ROOT, Phase.SUCCEEDED, run=run)


async def test_everything_of_a_run_goes_and_nothing_else(world: World) -> None:
    shelf = Shelf()
    await ended(world, "r", "x", "y")
    await ended(world, "r2", "x")
    mine = {attempt_name(world.id(name), 1) for name in (ROOT, "x", "y")}
    other = attempt_name(world.id("x", "r2"), 1)
    shelf.logs = {*mine, other}
    now = world.clock()
    for run in ("r", "r2"):
        key, source = CacheKey("p", "development", run), f"p/development/{run}/x/1"
        await world.database.write(lambda tx, k=key, s=source: cache.put(tx, k, Offer(uri="u", source=s), now))  # type: ignore[misc]
    removed = await deleted(world, shelf=shelf)
    assert (removed.runs, removed.actions, removed.objects, removed.bytes) == (1, 3, 2, 10)
    assert (removed.logs, removed.cached) == (3, 1)
    assert removed.events > 3
    with pytest.raises(NotFound):
        await world.get(ROOT)
    assert (await world.get("x", "r2")).phase is Phase.SUCCEEDED
    assert shelf.logs == {other}
    assert [uri async for uri, _ in world.blobs.list(f"{BASE}/")] == []
    assert await world.blobs.exists(f"{BASE}2/x/1/outputs.pb")
    await world.runs.create(creation("r", spec=spec("another")), no_chance)  # the name is free again


async def test_only_what_has_ended(world: World) -> None:
    await world.start("x")
    with pytest.raises(Conflict, match="abort it first"):
        await deleted(world)
    with pytest.raises(NotFound):
        await deleted(world, "nothing")
    assert (await world.get("x")).phase is Phase.QUEUED


async def test_a_crash_in_between_is_finished_by_the_next_sweep(world: World) -> None:
    """Until then it is found no more, and its name is not free."""
    await ended(world, "r", "x")
    async for _ in retention(world).delete(RunId("p", "development", "r")):
        break  # the process dies here
    with pytest.raises(NotFound):
        await world.get(ROOT)
    assert await world.runs.page(RunScope(project="p"), Page()) == ([], "")
    with pytest.raises(AlreadyExists):
        await world.runs.create(creation("r"), no_chance)
    assert (await retention(world).sweep()).runs == 1
    await world.runs.create(creation("r"), no_chance)


async def test_what_others_have_taken_over_stays(world: World) -> None:
    """A run that recovered x reads its outputs where they are."""
    await ended(world, "r", "x", "y")
    again = await world.runs.create(recovering(), no_chance)
    await world.actions.enqueue(again.id.run, child("x"))
    removed = await deleted(world)
    assert removed.objects == 1
    taken = await world.get("x", "again")
    assert await world.blobs.exists(f"{taken.output_uri}/outputs.pb")


async def test_old_runs_go_and_young_ones_stay(world: World) -> None:
    await ended(world, "old")
    await world.start(run="unfinished")
    world.clock.now += 2 * DAY
    await ended(world, "young")
    world.clock.now += DAY / 2
    assert (await retention(world, other=DAY).sweep()) == Removed()
    removed = await retention(world, p=DAY).sweep()
    assert removed.runs == 1
    page, _ = await world.runs.page(RunScope(project="p"), Page())
    assert {root.id.run.name for root in page} == {"young", "unfinished"}


async def test_the_age_of_each_project(world: World) -> None:
    ages = {"*": DAY, "q": 9 * DAY}
    assert (age_of("p", ages), age_of("q", ages), age_of("p", {})) == (DAY, 9 * DAY, None)
    await world.projects.create(Project("q", "q", "", {}, 0))
    await ended(world, "r")
    await world.runs.create(creation("r", project="q"), no_chance)
    world.clock.now += 2 * DAY
    swept = Retention(world.database, world.blobs, world.cache, Shelf().forget, ages, world.clock)
    assert (await swept.sweep()).runs == 1
