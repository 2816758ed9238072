"""Managers die, networks break, the control plane is down: runs end right, no attempt runs twice, and nothing is left.

``ALULA_CHAOS_RUNS`` says how many runs, ``ALULA_CHAOS_DOWN`` for how many seconds the control plane is down each time,
``ALULA_CHAOS_SEED`` what the dice begin with (see `make chaos-kubernetes`).
"""

import asyncio
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml

from alula.core.taskaction import Stage
from alula.kube import leader, shares
from alula.kube.client import Kube
from alula.kube.objects import LEASES, PODS, Busy, Conflict, Kind, Name, Object
from alula.manager.metrics import Metrics
from alula.manager.plugins.pod import PodPlugin
from alula.manager.podspec.settings import PodSettings
from alula.manager.program import Program
from alula.manager.settings import Manager
from tests.kube.apiserver.between import Between, EventsBetween, Gossip, between
from tests.kube.cluster import Cluster
from tests.kube.fates import End, Fate
from tests.kube.real import kubeconfig
from tests.manager.managed import by_type, control, request
from tests.manager.site import PATIENCE, Load, Server, prepare, serving, twice, until_nothing_is_left

RUNS = int(os.environ.get("ALULA_CHAOS_RUNS", "11"))
DOWN = float(os.environ.get("ALULA_CHAOS_DOWN", "1"))
SEED = int(os.environ.get("ALULA_CHAOS_SEED", "1"))
RATE = 0.05  # of answers that are 409, 410, 429 or 500
DEATHS = 0.02  # how likely a Manager dies before what it asks for, and after it
EVERY = 150  # runs for each time that the control plane is down
LONG = 3.0 * RUNS + (1 + RUNS // EVERY) * DOWN  # seconds, at most
AT_ONCE = 24
HURRY = {"DURATION": 2.0, "PATIENCE": 1.5, "PERIOD": 0.5}  # Leases that run out soon


class Mortal(Kube):
    """A Manager's way to its cluster. By chance it dies right before, or right after, the cluster has done something.

    What it asks for after that is not asked for. Its Leases, which it writes all the time, do not kill it.
    """

    dice: ClassVar = random.Random(0)
    rate: ClassVar = 0.0

    def __init__(self, *said: Any) -> None:
        super().__init__(*said)
        self.dead = asyncio.Event()

    async def create(self, kind: Kind, value: Object) -> Object:
        self._die(kind)
        found = await super().create(kind, value)
        self._die(kind)
        return found

    async def replace(self, kind: Kind, value: Object, *, status: bool = False) -> Object:
        self._die(kind)
        if self.dice.random() < self.rate:
            raise Conflict("somebody else was faster")
        found = await super().replace(kind, value, status=status)
        self._die(kind)
        return found

    async def get(self, kind: Kind, name: Name) -> Object:
        self._die(kind)
        return await super().get(kind, name)

    async def delete(self, kind: Kind, name: Name, **said: Any) -> bool:
        self._die(kind)
        found = await super().delete(kind, name, **said)
        self._die(kind)
        return found

    def _die(self, kind: Kind) -> None:
        if self.dead.is_set():
            raise Busy("dead")
        if kind != LEASES and self.dice.random() < self.rate:
            self.dead.set()
            raise asyncio.CancelledError


@dataclass
class Life:
    """Managers of one place, one after the other."""

    settings: Manager
    lives: int = 0
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        while not self.stop.is_set():
            self.lives += 1
            async with Mortal.connect(self.settings.kubeconfig, namespace=self.settings.namespace) as kube:
                program = Program(self.settings, by_type([PodPlugin()]), kube, Metrics())
                running = asyncio.create_task(program.run(self.stop, lambda _: None))
                dying = asyncio.create_task(kube.dead.wait())
                await asyncio.wait({running, dying}, return_when=asyncio.FIRST_COMPLETED)
                if not self.stop.is_set():
                    running.cancel()
                dying.cancel()
                with suppress(asyncio.CancelledError):
                    await running


@asynccontextmanager
async def living(*lives: Life) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(life.run()) for life in lives]
    try:
        yield
    finally:
        Mortal.rate = 0.0
        for life in lives:
            life.stop.set()
        done, late = await asyncio.wait(tasks, timeout=PATIENCE)
        if late:
            for task in asyncio.all_tasks():
                task.print_stack(limit=8, file=sys.stderr)
        assert not late, "a Manager does not end"
        for task in done:
            task.result()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases that run out soon."""
    for module in (leader, shares):
        for name, seconds in HURRY.items():
            if hasattr(module, name):
                monkeypatch.setattr(module, name, seconds)


@dataclass
class Paths:
    """The ways between those who talk to each other."""

    api: dict[str, Between]  # to the API server, by who asks
    events: EventsBetween  # from the Managers to the control plane
    config: dict[str, Path]  # kubeconfigs, by who asks
    url: str  # of ``events``

    def fail(self, rate: float) -> None:
        """From now on things go wrong on all of them; never, if the rate is 0."""
        for one in (*self.api.values(), self.events):
            faults = one.faults
            faults.rate, faults.lost, faults.cut, faults.latency = rate, rate / 5, rate / 5, (0.0, rate)
        self.events.gossip = Gossip(*[4 * rate] * 4)

    @property
    def happened(self) -> Counter[str]:
        return sum((one.happened for one in (*self.api.values(), self.events)), Counter())


@asynccontextmanager
async def paths(cluster: Cluster, plane: str, dice: random.Random, folder: Path) -> AsyncIterator[Paths]:
    told = yaml.safe_load(cluster.kubeconfig.read_text())
    url, token = told["clusters"][0]["cluster"]["server"], told["users"][0]["user"]["token"]
    async with AsyncExitStack() as stack:
        found, config = {}, {}
        for who in ("one", "two", "plane"):
            found[who] = Between(url)
            there = await stack.enter_async_context(between(found[who], dice))
            config[who] = kubeconfig(folder / f"{who}.kubeconfig", there, token)
        events = EventsBetween(plane)
        yield Paths(found, events, config, await stack.enter_async_context(between(events, dice)))


async def trouble(cluster: Cluster, ways: Paths, dice: random.Random) -> None:
    """Cut who talks to each other off, one after the other, for ever."""
    while True:
        await asyncio.sleep(dice.uniform(0.2, 1.5))
        away = dice.choice([*ways.api.values(), ways.events])
        await away.away(dice.choice((0.1, 0.3, 0.6, 2.0)))
        if cluster.server is not None and dice.random() < 0.5:
            cluster.server.storage.forget()  # who was away cannot go on from where it was


async def take_down(server: Server, load: Load, times: int, seconds: float) -> None:
    """Kill the control plane amid its work, and start it again after a while."""
    for time_ in range(1, times + 1):
        while len(load.ended) < RUNS * time_ / (times + 1):
            await asyncio.sleep(0.05)
        await server.kill()
        await asyncio.sleep(seconds)
        await server.start()


@pytest.mark.usefixtures("quick")
@pytest.mark.timeout(3 * PATIENCE + LONG)
async def test_everything_fails(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dice, began = random.Random(SEED), time.monotonic()
    monkeypatch.setattr(Mortal, "dice", dice)
    await prepare(cluster)
    async with AsyncExitStack() as stack:
        server = Server(tmp_path, tmp_path / "plane.kubeconfig", cluster.namespace)
        ways = await stack.enter_async_context(paths(cluster, server.url, dice, tmp_path))
        pods = PodSettings(image_pull_grace=timedelta(seconds=1))
        said: dict[str, Any] = {
            "namespace": cluster.namespace,
            "control_plane": ways.url,
            "pods": pods,
            "listen": "",
            "groups": 4,
        }
        lives = [Life(Manager(kubeconfig=ways.config[who], replica=who, **said)) for who in ("one", "two")]
        await stack.enter_async_context(serving(server))
        await stack.enter_async_context(living(*lives))
        monkeypatch.setattr(Mortal, "rate", DEATHS)
        ways.fail(RATE)
        load = Load(server.url, dice)
        cluster.kubelet.script = load.fate
        troubles = asyncio.create_task(trouble(cluster, ways, dice))
        down = asyncio.create_task(take_down(server, load, 1 + RUNS // EVERY, DOWN))
        try:
            async with asyncio.timeout(PATIENCE + LONG):
                await load.run(RUNS, AT_ONCE)
                await down
        except TimeoutError:
            raise AssertionError(
                f"{len(load.ended)} of {RUNS} runs have ended; these have not: {load.open()}"
            ) from None
        finally:
            troubles.cancel()
            down.cancel()
        ways.fail(0.0)
        for one in (*ways.api.values(), ways.events):
            one.faults.away = False
        Mortal.rate = 0.0
        await until_nothing_is_left(cluster)
        await ways.events.delivered()
        assert await load.now() == {one.name: one.phase for one in load.ended}, "what came late has changed an end"
    assert not load.wrong()
    assert not twice(cluster)
    assert sum(life.lives for life in lives) > 2, "nobody died: that proves nothing"
    happened, lost = ways.happened, load.lost()
    for words in (("409", "429", "500"), ("cut", "lost"), ("away",), ("mixed", "dropped", "twice", "delayed")):
        assert any(happened[word] for word in words), f"nothing was {words}: that proves nothing"
    print(
        f"{RUNS} runs in {time.monotonic() - began:.0f} s, seed {SEED}; {sum(life.lives for life in lives)} Managers; "
        f"{lost} attempts lost and made again; {dict(happened)}"
    )


async def test_a_manager_that_is_killed(cluster: Cluster, tmp_path: Path) -> None:
    """`alula manager`, kill -9, and another one: its part of the work is free once its Leases have run out."""
    cluster.kubelet.script = lambda pod: Fate(End.NEVER) if "r0-" in pod["metadata"]["name"] else Fate(after=0.3)
    async with control(cluster) as plane:
        asked = [request(number) for number in range(6)]
        async with program(cluster, tmp_path / "first.txt") as first:
            for one in asked[:3]:
                await plane.submit(one)
            await plane.until(asked[0].name, lambda state: state.stage is Stage.RUNNING)
            first.kill()
            await first.wait()
        for one in asked[3:]:
            await plane.submit(one)
        async with program(cluster, tmp_path / "second.txt") as second:
            await plane.release(asked[0].name)
            states = await plane.over([one.name for one in asked[1:]])
            pods = await plane.gone(PODS, 5)
            assert asked[0].name not in {pod["metadata"]["name"] for pod in pods}
            second.send_signal(signal.SIGTERM)
            async with asyncio.timeout(20):
                assert await second.wait() == 0
        said = (tmp_path / "second.txt").read_text()
        assert "is ready" in said
        assert "the work is given back" in said
    assert {state.stage for state in states} <= {Stage.SUCCEEDED, Stage.FAILED}
    assert sum(state.stage is Stage.SUCCEEDED for state in states) >= 3
    assert max(cluster.kubelet.started.values()) == 1


@asynccontextmanager
async def program(cluster: Cluster, log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    words = ["manager", "--kubeconfig", str(cluster.kubeconfig), "--namespace", cluster.namespace, "--listen", ""]
    with log.open("wb") as output:
        hurry = f"[setattr(one, *it) for one in (leader, shares) for it in {HURRY}.items() if hasattr(one, it[0])]"
        run = f"from alula.kube import leader, shares; {hurry}; from alula.cli.main import main; main()"
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", run, *words, stdout=output, stderr=output)
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
