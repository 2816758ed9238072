"""The logs of a cluster's attempts: of all pods and containers, across restarts and cuts; what is said of the lost."""

import random
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from alula.core.launch import Launch
from alula.core.taskaction import Container, Pod, Stage, State
from alula.executors.cluster import executor, podlogs
from alula.kube.objects import PODS, Busy, Name
from tests.kube.cluster import Cluster, cluster, real_kubeconfig
from tests.kube.fates import End, Fate
from tests.kube.nodelogs import Container as Spoken

from .test_cluster import Bench, executing, launch

__all__ = ["cluster", "real_kubeconfig"]
NOW = datetime(2026, 3, 4, tzinfo=UTC)
SILENT = Fate(End.NEVER, log=())


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(podlogs, "_AGAIN", 0.02)
    monkeypatch.setattr(executor, "_PAUSE", 0.02)


class Job:
    """An attempt of several pods; the test is its Manager."""

    def __init__(self, bench: Bench, ready: Launch) -> None:
        self.bench, self.ready, self.cluster = bench, ready, bench.cluster
        self.state = State(Stage.RUNNING)

    async def pod(self, name: str, *containers: str, init: tuple[str, ...] = (), primary: str = "") -> None:
        """Have a pod that runs, and tell of it."""
        spec = {"containers": [{"name": one, "image": "i"} for one in containers]}
        spec |= {"initContainers": [{"name": one, "image": "i"} for one in init]} if init else {}
        where = Name(self.cluster.namespace, name)
        await self.cluster.kube.create(PODS, {"metadata": where._asdict(), "spec": spec})
        parts = [Container(one, init=one in init, started_at=NOW) for one in (*init, *containers)]
        await self.tell(pods=(*self.state.pods, Pod(name, self.cluster.namespace, tuple(parts), primary)))
        while True:
            found = await self.cluster.kube.get(PODS, where)
            if (found.get("status") or {}).get("phase") == "Running":
                return

    async def tell(self, **said: Any) -> None:
        self.state = replace(self.state, **said)
        await self.bench.tell(self.ready.name, self.state)

    def say(self, pod: str, container: str, *lines: str) -> None:
        self.cluster.kubelet.logs.write(self.of(pod, container), *lines)

    def of(self, pod: str, container: str) -> Spoken:
        return Spoken(self.cluster.namespace, pod, container)

    def end(self) -> None:
        for pod in self.state.pods:
            for container in pod.containers:
                self.cluster.kubelet.logs.end(self.of(pod.name, container.name))


@asynccontextmanager
async def job(cluster: Cluster) -> AsyncIterator[Job]:
    cluster.kubelet.script = lambda _: SILENT
    async with executing(cluster) as bench:
        ready = launch()
        await bench.executor.submit(ready)
        yield Job(bench, ready)


async def test_every_container_of_every_pod_is_told_by_its_name(cluster: Cluster) -> None:
    """A Ray cluster: the head with a sidecar and an init container, and two workers."""
    async with job(cluster) as ray:
        await ray.pod("head", "ray-head", "proxy", init=("wait",), primary="ray-head")
        await ray.pod("worker-1", "ray-worker")
        await ray.pod("worker-2", "ray-worker")
        ray.say("head", "wait", "the store answers")
        ray.say("head", "ray-head", "started")
        ray.say("worker-1", "ray-worker", "joined")
        ray.say("worker-2", "ray-worker", "joined", "left")
        ray.say("head", "proxy", "GET /")
        ray.end()
        await ray.tell(stage=Stage.SUCCEEDED, ended_at=NOW)
        await ray.bench.over(ray.ready.name)
        wanted = [
            "[head/wait] the store answers",
            "[head/ray-head] started",
            "[worker-1/ray-worker] joined",
            "[worker-2/ray-worker] joined",
            "[worker-2/ray-worker] left",
            "[head/proxy] GET /",
        ]
        assert (await ray.bench.said(ray.ready.name, follow=False)).splitlines() == wanted
        assert sorted((await ray.bench.said(ray.ready.name)).splitlines()) == sorted(wanted)
        await ray.bench.executor.release(ray.ready.name)
        assert ray.bench.logs[ray.ready.name].splitlines() == wanted


async def test_what_a_container_said_before_it_was_started_again_is_kept(cluster: Cluster) -> None:
    async with job(cluster) as one:
        await one.pod("p", "main", "mesh", primary="main")
        logs, mesh = cluster.kubelet.logs, one.of("p", "mesh")
        one.say("p", "mesh", "first life")
        following = aiter(one.bench.executor.logs(one.ready.name, follow=True))
        heard = [line.text for line in await anext(following)]
        for life in ("second", "third"):
            logs.restart(mesh)
            one.say("p", "mesh", f"{life} life")
            heard += [line.text for line in await anext(following)]
        assert heard == ["[mesh] first life\n", "[mesh] second life\n", "[mesh] third life\n"]
        (pod,) = one.state.pods
        main, other = pod.containers
        one.end()
        pods = (replace(pod, containers=(main, replace(other, restarts=2))),)
        await one.tell(stage=Stage.SUCCEEDED, ended_at=NOW, pods=pods)
        assert [line.text async for lines in following for line in lines if line.originator.value == "user"] == []
        await one.bench.executor.release(one.ready.name)
        assert one.bench.logs[one.ready.name].splitlines() == [
            "[mesh] (the container mesh was started again 2 times; what it said before its last two lives is lost)",
            "[mesh] second life",
            "[mesh] third life",
        ]


async def test_a_log_that_went_with_its_node_says_so(cluster: Cluster) -> None:
    """Who follows it is told what there was, and that there is no more; so says the archive."""
    async with job(cluster) as lost:
        await lost.pod("p", "main", primary="main")
        lost.say("p", "main", "one")
        following = aiter(lost.bench.executor.logs(lost.ready.name, follow=True))
        assert [line.text for line in await anext(following)] == ["one\n"]
        await cluster.kube.delete(PODS, Name(cluster.namespace, "p"), grace=0)
        (cut,) = await anext(following)
        text = "(the log of p/main is cut here: its pod is gone, and with it what is not told here)\n"
        assert (cut.text, cut.originator.value) == (text, "system")
        await lost.tell(stage=Stage.FAILED, ended_at=NOW)
        assert [lines async for lines in following] == []
        await lost.bench.over(lost.ready.name)
        await lost.bench.executor.release(lost.ready.name)
        assert lost.bench.logs[lost.ready.name] == text


@pytest.mark.parametrize("cluster", ["memory"], indirect=True)
async def test_a_node_that_does_not_answer_keeps_no_attempt_from_its_end(cluster: Cluster) -> None:
    async with job(cluster) as lost:
        await lost.pod("p", "main", primary="main")
        lost.say("p", "main", "one")
        nodes = cluster.kubelet.logs
        port, nodes.port = nodes.port, 1
        await cluster.kubelet._register()
        try:
            await lost.tell(stage=Stage.FAILED, ended_at=NOW)
            await lost.bench.over(lost.ready.name)
            assert "the log of p/main is cut here" in await lost.bench.said(lost.ready.name)
            await lost.bench.executor.release(lost.ready.name)
        finally:
            nodes.port = port
        assert "the log of p/main is cut here" in lost.bench.logs[lost.ready.name]


class Shaky:
    """A cluster whose streams break after some bytes."""

    def __init__(self, kube: Any) -> None:
        self._kube, self._dice, self.cuts = kube, random.Random(7), 0

    async def logs(self, *which: Any, **said: Any) -> AsyncGenerator[bytes]:
        left = self._dice.randrange(30_000)
        async with aclosing(self._kube.logs(*which, **said)) as pieces:
            async for piece in pieces:
                if len(piece) > left and self.cuts < 40:
                    self.cuts += 1
                    yield piece[:left]
                    raise Busy("cut")
                left -= len(piece)
                yield piece


async def test_a_stream_that_breaks_again_and_again_loses_and_doubles_nothing(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(podlogs, "_TRIES", 50)
    async with job(cluster) as one:
        await one.pod("p", "main", primary="main")
        lines = [f"{number} {'x' * (number % 90)}" for number in range(600)]
        one.say("p", "main", *lines[:300])  # all at the same time
        one.bench.executor._kube = shaky = Shaky(cluster.kube)  # type: ignore[assignment]
        heard = ""
        async for batch in one.bench.executor.logs(one.ready.name, follow=True):
            heard += "".join(line.text for line in batch)
            if heard.count("\n") >= 300 and one.state.stage is Stage.RUNNING:
                for line in lines[300:]:
                    one.say("p", "main", line)
                one.end()
                await one.tell(stage=Stage.SUCCEEDED, ended_at=NOW)
        assert shaky.cuts >= 3
        assert heard.splitlines() == lines
