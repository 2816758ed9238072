"""Managers that die at any moment while they look after jobs elsewhere: none runs twice, and none is forgotten."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from alula.base.clock import steady_clock, system_clock
from alula.core.taskaction import Request, Stage, State
from alula.kube.client import Kube
from alula.kube.objects import Busy, Kind, Name, Object
from alula.manager import jobs
from alula.manager.attempts import Attempts, Outside
from alula.manager.controller import Controller, Pace
from alula.manager.plans import Choice, Plans
from alula.manager.plugins.base import Seen, Task
from alula.manager.podspec.settings import PodSettings
from alula.manager.remote.templates import Fetched, NoStore
from alula.manager.step import LOST
from alula.manager.world import ACTIONS, World
from tests.kube.cluster import Cluster
from tests.manager.managed import Control, control, request

_RATE, _RUNS = 0.04, 10
_dice = random.Random(7)


@dataclass
class Chance:
    """When a life ends."""

    rate: float = _RATE
    dead: asyncio.Event = field(default_factory=asyncio.Event)

    def strike(self) -> None:
        """Die now, perhaps; the dead do nothing."""
        if self.dead.is_set():
            raise Busy("dead")
        if _dice.random() < self.rate:
            self.dead.set()
            raise asyncio.CancelledError


class Mortal(Kube):
    """A Manager's way to its cluster: it may die right before and right after the cluster has done something."""

    chance = Chance()

    async def replace(self, kind: Kind, value: Object, *, status: bool = False) -> Object:
        self.chance.strike()
        found = await super().replace(kind, value, status=status)
        self.chance.strike()
        return found

    async def patch(self, kind: Kind, name: Name, change: Any, *, status: bool = False) -> Object:
        self.chance.strike()
        found = await super().patch(kind, name, change, status=status)
        self.chance.strike()
        return found


@dataclass
class Elsewhere:
    """Where jobs run. By chance who asks dies before it was asked, or before the answer has come."""

    chance: Chance
    begun: Counter[str] = field(default_factory=Counter)
    running: set[str] = field(default_factory=set)
    looks: Counter[str] = field(default_factory=Counter)
    lives: int = 0

    async def knows(self, task: Task) -> bool:
        return task.template.type in ("container", "")

    def again(self, task: Task) -> bool:
        return task.request.task_type == "found-again"

    async def create(self, task: Task, now: datetime) -> bytes:
        self.chance.strike()
        name = task.request.name
        if not (self.again(task) and self.begun[name]):
            self.begun[name] += 1
            self.running.add(name)
        await asyncio.sleep(0)
        self.chance.strike()
        return name.encode()

    async def get(self, task: Task, handle: bytes, now: datetime) -> Seen:
        self.chance.strike()
        name = handle.decode()
        self.looks[name] += 1
        if self.looks[name] < 3 or name.startswith("r3"):
            return Seen(State(Stage.RUNNING), now + timedelta(milliseconds=20))
        self.running.discard(name)
        return Seen(State(Stage.SUCCEEDED, ended_at=now))

    async def delete(self, task: Task, handle: bytes, now: datetime) -> None:
        self.chance.strike()
        self.running.discard(handle.decode() or (task.request.name if self.again(task) else ""))
        self.chance.strike()


async def live(cluster: Cluster, chance: Chance, there: Elsewhere) -> None:
    """Managers, one after the other."""
    while True:
        there.lives += 1
        there.chance = Mortal.chance = Chance(chance.rate)
        async with Mortal.connect(cluster.kubeconfig, namespace=cluster.namespace) as kube:
            world = World(kube, cluster.namespace, [], _dice.random)
            plans = Plans(Choice({}, [there]), PodSettings(), world.templates, Fetched(NoStore()))
            attempts = Attempts(world, plans, Outside(kube, system_clock, _Nobody()))
            controller = Controller(world, attempts, Pace(system_clock, steady_clock, _dice.random, workers=8))
            running = asyncio.create_task(controller.run())
            try:
                await there.chance.dead.wait()
            finally:
                running.cancel()
                with suppress(asyncio.CancelledError):
                    await running


class _Nobody:
    def tell(self, action: Object, request: Request, state: State) -> None:
        pass

    def forget(self, uid: str) -> None:
        pass


@asynccontextmanager
async def living(cluster: Cluster, chance: Chance, there: Elsewhere) -> AsyncIterator[None]:
    task = asyncio.create_task(live(cluster, chance, there))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def carry_out(plane: Control, asked: Request) -> State:
    """Submit, wait for the end or the moment of an abort, and delete. Those whose names begin with r3 never end."""
    await plane.submit(asked)
    fits = (lambda s: s.stage is Stage.RUNNING or s.stage.over) if asked.name.startswith("r3") else _over
    state = await plane.until(asked.name, fits)
    await plane.release(asked.name)
    return state


def _over(state: State) -> bool:
    return state.stage.over


async def test_no_job_runs_twice_and_none_is_forgotten(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "SETTLE", timedelta(0))
    chance = Chance()
    there = Elsewhere(chance)
    kinds = ("once", "found-again")
    asked = [request(number, task_type=kinds[number % 2]) for number in range(1, _RUNS + 1)]
    asked += [request(number, task_type=kinds[number % 2]) for number in range(30, 36)]
    async with control(cluster) as plane, living(cluster, chance, there):
        states = await asyncio.gather(*(carry_out(plane, one) for one in asked))
        chance.rate = there.chance.rate = Mortal.chance.rate = 0.0
        await plane.gone(ACTIONS)
    ends = list(zip(asked, states, strict=True))
    assert set(there.begun.values()) <= {0, 1}
    for one, state in ends:
        if state.stage is Stage.SUCCEEDED:
            assert there.begun[one.name] == 1
        elif state.stage is Stage.FAILED:  # a job may be there, and nobody knows what it is called
            assert state.cause
            assert (state.cause.code, one.task_type) == (LOST, "once")
    told = {one.name for one, state in ends if state.stage is Stage.FAILED}
    assert there.running <= told
    assert there.lives > 5
    assert len(told) < len(asked)


@pytest.mark.parametrize("gone", [False, True], ids=["lost-to-another", "gone"])
async def test_a_job_that_came_too_late_to_be_told_is_ended(cluster: Cluster, gone: bool) -> None:
    """A Manager was slow to begin it: meanwhile another one has called the attempt lost, or all of it is over."""
    there, begins = Elsewhere(Chance(0.0)), asyncio.Event()
    ours = [True]

    class Slow(Elsewhere):
        async def create(self, task: Task, now: datetime) -> bytes:
            handle = await there.create(task, now)
            begins.set()
            await goes_on.wait()
            return handle

        async def delete(self, task: Task, handle: bytes, now: datetime) -> None:
            await there.delete(task, handle, now)
            ended.set()

    goes_on, ended, slow = asyncio.Event(), asyncio.Event(), Slow(there.chance)
    asked = request(task_type="once")
    async with control(cluster) as plane:
        world = World(cluster.kube, cluster.namespace, [], _dice.random)
        plans = Plans(Choice({}, [slow]), PodSettings(), world.templates, Fetched(NoStore()))
        outside = Outside(cluster.kube, system_clock, _Nobody(), ours=lambda _: ours[0])
        controller = Controller(world, Attempts(world, plans, outside), Pace(system_clock, steady_clock, _dice.random))
        running = asyncio.create_task(controller.run())
        await plane.submit(asked)
        async with asyncio.timeout(20):
            await begins.wait()
            name = Name(cluster.namespace, asked.name)
            status = {"pluginPhase": "PermanentFailure", "errorState": {"code": LOST, "message": "lost"}}
            await cluster.kube.patch(ACTIONS, name, {"metadata": {"finalizers": None}})
            if gone:
                await cluster.kube.delete(ACTIONS, name)
                await plane.gone(ACTIONS)
            else:
                ours[0] = False
                await cluster.kube.patch(ACTIONS, name, {"status": status}, status=True)
            goes_on.set()
            controller.look_at_all()
            await ended.wait()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    assert there.running == set()
