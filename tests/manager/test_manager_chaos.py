"""Managers that die, and a cluster that fails: every attempt ends right, none runs twice, and nothing is left."""

import asyncio
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from alula.core.taskaction import Request, Stage, State
from alula.kube import leader, shares
from alula.kube.client import Kube
from alula.kube.objects import PODS, Busy, Conflict, Exists, Kind, Name, Object
from alula.manager.metrics import Metrics
from alula.manager.plugins.pod import PodPlugin
from alula.manager.program import Program
from alula.manager.settings import Manager
from alula.manager.world import ACTIONS
from tests.kube.cluster import Cluster
from tests.kube.fates import End, Fate
from tests.manager.managed import Control, by_type, control, request

T = TypeVar("T")
_RUNS = 20
_LOST = "ResourceDeletedExternally"
_FATES = (Fate(), Fate(after=0.2), Fate(End.FAILED, after=0.1), Fate(End.OOM), Fate(End.NEVER))


class Mortal(Kube):
    """A Manager's way to its cluster. By chance it dies right before, or right after, the cluster has done something.

    What it asks for after that is not asked for.
    """

    dice = random.Random(0)
    rate = 0.0

    def __init__(self, *said: Any) -> None:
        super().__init__(*said)
        self.dead = asyncio.Event()

    async def create(self, kind: Kind, value: Object) -> Object:
        self._die()
        found = await super().create(kind, value)
        self._die()
        return found

    async def replace(self, kind: Kind, value: Object, *, status: bool = False) -> Object:
        self._die()
        if self.dice.random() < self.rate:
            raise Conflict("somebody else was faster")
        found = await super().replace(kind, value, status=status)
        self._die()
        return found

    async def get(self, kind: Kind, name: Name) -> Object:
        self._die()
        return await super().get(kind, name)

    async def delete(self, kind: Kind, name: Name, **said: Any) -> bool:
        self._die()
        found = await super().delete(kind, name, **said)
        self._die()
        return found

    def _die(self) -> None:
        if self.dead.is_set():
            raise Busy("dead")
        if self.dice.random() < self.rate:
            self.dead.set()
            raise asyncio.CancelledError


@dataclass
class Life:
    """Managers of one place, one after the other."""

    cluster: Cluster
    replica: str
    lives: int = 0
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        settings = Manager(namespace=self.cluster.namespace, groups=4, workers=8, listen="", replica=self.replica)
        while not self.stop.is_set():
            self.lives += 1
            async with Mortal.connect(self.cluster.kubeconfig, namespace=self.cluster.namespace) as kube:
                program = Program(settings, by_type([PodPlugin()]), kube, Metrics())
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
        Mortal.rate = 0.0
    finally:
        for life in lives:
            life.stop.set()
        await asyncio.gather(*tasks)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases that run out soon."""
    for module in (leader, shares):
        for name, seconds in (("DURATION", 1.0), ("PATIENCE", 0.7), ("PERIOD", 0.2)):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, seconds)


async def insist(do: Callable[[], Awaitable[T]]) -> T | None:
    while True:
        try:
            return await do()
        except (Busy, Conflict):
            await asyncio.sleep(0.05)
        except Exists:
            return None


async def carry_out(plane: Control, number: int, fate: Fate) -> list[tuple[Request, State]]:
    """What a control plane does with an action: attempts, until one of them is the action's own end."""
    ends: list[tuple[Request, State]] = []
    while True:
        asked = request(number, len(ends) + 1)
        await insist(lambda asked=asked: plane.submit(asked))  # type: ignore[misc]
        if fate.end is End.NEVER:
            state = await plane.until(asked.name, lambda state: state.stage is Stage.RUNNING or state.stage.over)
        else:
            state = await plane.until(asked.name, lambda state: state.stage.over)
        ends.append((asked, state))
        await insist(lambda asked=asked: plane.release(asked.name))  # type: ignore[misc]
        if state.cause is None or state.cause.code != _LOST:
            return ends


def check(cluster: Cluster, fates: dict[int, Fate], ended: list[list[tuple[Request, State]]]) -> Counter[str]:
    """That all ended as was meant, and that nothing ran twice; how they ended."""
    expected = {
        End.SUCCEEDED: (Stage.SUCCEEDED, None),
        End.FAILED: (Stage.FAILED, "ContainerFailed"),
        End.OOM: (Stage.FAILED, "OOMKilled"),
        End.NEVER: (Stage.RUNNING, None),
    }
    counts: Counter[str] = Counter()
    for number, attempts in enumerate(ended):
        *lost, (last, state) = attempts
        assert (state.stage, state.cause and state.cause.code) == expected[fates[number].end]
        assert cluster.kubelet.started[last.name] == 1
        for _, before in lost:
            assert before.cause is not None
            assert before.cause.system
        counts["lost"] += len(lost)
        counts["ended"] += 1
    twice = {name for name, count in cluster.kubelet.started.items() if count > 1}
    assert not twice
    if cluster.server is not None:
        assert not {what for what, count in cluster.server.created.items() if what[0] == "pods" and count > 1}
    return counts


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("seed", [1, 2])
async def test_managers_die_and_the_cluster_fails(cluster: Cluster, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if cluster.server is None and seed > 1:
        pytest.skip("a real cluster does not fail on demand: one seed is enough")
    dice = random.Random(seed)
    fates = {number: dice.choice(_FATES) for number in range(_RUNS)}
    cluster.kubelet.script = lambda pod: fates[int(pod["metadata"]["name"].split("-")[0][1:])]
    monkeypatch.setattr(Mortal, "dice", dice)
    monkeypatch.setattr(Mortal, "rate", 0.04)
    lives = [Life(cluster, "one"), Life(cluster, "two")]
    async with control(cluster) as plane:
        if cluster.server is not None:
            faults = cluster.server.faults
            faults.dice, faults.rate, faults.lost, faults.cut = dice, 0.05, 0.01, 0.02
            faults.codes = (410, 429, 500)  # the simulated kubelet takes 409 for the end of a pod
        async with living(*lives):
            async with asyncio.timeout(60):
                ended = await asyncio.gather(*(carry_out(plane, number, fates[number]) for number in range(_RUNS)))
            if cluster.server is not None:
                faults.rate = faults.lost = faults.cut = 0.0
            await plane.gone(PODS)
            await plane.gone(ACTIONS)
    counts = check(cluster, fates, ended)
    assert sum(life.lives for life in lives) > 2, "nobody died: that proves nothing"
    assert counts["lost"] < _RUNS


@pytest.mark.usefixtures("quick")
async def test_a_partition(cluster: Cluster) -> None:
    if cluster.server is None:
        pytest.skip("a real cluster cannot be cut off here")
    faults = cluster.server.faults
    fates = {number: _FATES[number % len(_FATES)] for number in range(_RUNS)}
    cluster.kubelet.script = lambda pod: fates[int(pod["metadata"]["name"].split("-")[0][1:])]
    dice = random.Random(7)

    async def cut() -> None:
        for _ in range(5):
            await asyncio.sleep(dice.uniform(0.2, 0.6))
            faults.away = True
            cluster.server.cut_watches()  # type: ignore[union-attr]
            await asyncio.sleep(dice.uniform(0.1, 1.2))
            cluster.server.storage.forget()  # type: ignore[union-attr]
            faults.away = False

    async with control(cluster) as plane, living(Life(cluster, "one"), Life(cluster, "two")):
        cutting = asyncio.create_task(cut())
        async with asyncio.timeout(90):
            ended = await asyncio.gather(*(carry_out(plane, number, fates[number]) for number in range(_RUNS)))
        cutting.cancel()
        faults.away = False
        await plane.gone(PODS)
    check(cluster, fates, ended)


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
        run = "from alula.cli.main import main; main()"
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", run, *words, stdout=output, stderr=output)
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
