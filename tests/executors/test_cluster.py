"""A cluster as an executor, on the API server in memory and on a real one: with the Manager, and without."""

import asyncio
import hashlib
import random
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from alula.core.errors import LaunchRefused, Unavailable
from alula.core.launch import Launch, LogLine, Observation, Presence, SecretFile
from alula.core.taskaction import Pod, Request, Stage, State
from alula.core.taskspec import read_request
from alula.core.taskstatus import status
from alula.executors.cluster.executor import ACTIONS, ClusterExecutor, Common, Keeping, Share
from alula.executors.cluster.secret import manifest as secret_of
from alula.kube.objects import PODS, SECRETS, Name, Object, Selection
from alula.manager.crds import install, taskactions
from tests.kube.cluster import Cluster, cluster, real_kubeconfig
from tests.kube.fates import End, Fate
from tests.manager.managed import managing, request

__all__ = ["cluster", "real_kubeconfig"]
NOW = datetime(2026, 3, 4, tzinfo=UTC)
PATIENCE = 30.0  # seconds for anything to happen
NEVER = Fate(End.NEVER, log=("one", "two"))


@dataclass
class Bench:
    """An executor at work, and what it has kept."""

    cluster: Cluster
    executor: ClusterExecutor
    logs: dict[str, str] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)

    async def until(self, name: str, *presences: Presence) -> Observation:
        async with asyncio.timeout(PATIENCE):
            changes = self.executor.changes()
            while (seen := await self.executor.observe(name)) is None or seen.presence not in presences:
                await anext(changes)
        return seen

    async def over(self, name: str) -> Observation:
        return await self.until(name, Presence.EXITED, Presence.LOST)

    async def said(self, name: str, *, follow: bool = True) -> str:
        async with asyncio.timeout(PATIENCE):
            return "".join([line.text async for lines in self.executor.logs(name, follow=follow) for line in lines])

    async def action(self, name: str) -> Object:
        return await self.cluster.kube.get(ACTIONS, Name(self.cluster.namespace, name))

    async def tell(self, name: str, state: State) -> None:
        """Be the Manager: say what has become of an attempt."""
        found = await self.action(name)
        told = status(found.get("status") or {}, state, 1, NOW)
        await self.cluster.kube.replace(ACTIONS, found | {"status": told}, status=True)

    async def names(self, kind: Any) -> list[str]:
        found, _ = await self.cluster.kube.select(Selection(kind, self.cluster.namespace))
        return sorted(one["metadata"]["name"] for one in found if one["metadata"]["name"] != "kube-root-ca.crt")


@asynccontextmanager
async def executing(cluster: Cluster, share: Share = Share("me")) -> AsyncIterator[Bench]:  # noqa: B008
    await cluster.install(taskactions())
    logs: dict[str, str] = {}
    objects: dict[str, bytes] = {}

    async def keep(name: str, lines: AsyncIterator[list[LogLine]]) -> None:
        logs[name] = "".join([line.text async for batch in lines for line in batch])

    async def put(uri: str, data: bytes) -> None:
        objects[uri] = data

    executor = ClusterExecutor("east", cluster.kube, Keeping(keep, put), share, random.Random(0).random)
    async with executor:
        yield Bench(cluster, executor, logs, objects)


def launch(number: int = 1, **said: Any) -> Launch:
    asked: Request = replace(request(number), run_key=number, **said)
    return Launch(asked.name, (), {}, grace=1.0, request=asked, cluster="east")


# With the Manager


async def test_an_attempt_runs_ends_and_leaves_nothing_but_its_log(cluster: Cluster) -> None:
    ready = launch()
    cluster.kubelet.script = lambda _: Fate(after=0.2, log=("one", "two"))
    async with executing(cluster) as bench, managing(cluster.kubeconfig, cluster.namespace):
        assert await bench.executor.observe(ready.name) is None
        await bench.executor.submit(ready)
        await bench.executor.submit(ready)
        assert await bench.executor.names() == [ready.name]
        assert await bench.said(ready.name) == "one\ntwo\n"
        seen = await bench.over(ready.name)
        assert (seen.presence, seen.exit_code, seen.cause, seen.cluster) == (Presence.EXITED, 0, None, "east")
        assert seen.started_at is not None
        assert await bench.said(ready.name, follow=False) == "one\ntwo\n"
        await bench.executor.release(ready.name)
        assert bench.logs == {ready.name: "one\ntwo\n"}
        assert await bench.executor.observe(ready.name) is None
        assert await bench.executor.names() == []
        assert await bench.names(ACTIONS) == []
        await bench.executor.release(ready.name)
        await bench.executor.release("never-heard-of")
    assert set(cluster.kubelet.started.values()) == {1}


async def test_what_runs_is_ended_and_its_last_words_are_kept(cluster: Cluster) -> None:
    ready = launch()
    cluster.kubelet.script = lambda _: NEVER
    async with executing(cluster) as bench, managing(cluster.kubeconfig, cluster.namespace):
        await bench.executor.submit(ready)
        await bench.until(ready.name, Presence.RUNNING)
        await bench.executor.release(ready.name)
        assert await bench.names(PODS) == []
        assert await bench.executor.observe(ready.name) is None
        assert bench.logs == {ready.name: "one\ntwo\n"}


async def test_what_has_not_begun_is_ended(cluster: Cluster) -> None:
    ready = launch()
    cluster.kubelet.script = lambda _: Fate(End.UNSCHEDULABLE)
    async with executing(cluster) as bench, managing(cluster.kubeconfig, cluster.namespace):
        await bench.executor.submit(ready)
        seen = await bench.until(ready.name, Presence.WAITING)
        assert "nodes are available" in seen.notes[-1]
        await bench.executor.release(ready.name)
        assert await bench.names(PODS) == []
        assert bench.logs == {}


@pytest.mark.parametrize(
    ("fate", "code", "system"),
    [
        (Fate(End.FAILED, exit_code=3), "ContainerFailed", False),
        (Fate(End.OOM), "OOMKilled", False),
        (Fate(End.EVICTED), "Interrupted", True),
        (Fate(End.NODE_LOST, after=0.1), "ResourceDeletedExternally", True),
    ],
    ids=lambda value: value.end.value if isinstance(value, Fate) else None,
)
async def test_a_failure_says_whose_it_is(cluster: Cluster, fate: Fate, code: str, system: bool) -> None:
    ready = launch()
    cluster.kubelet.script = lambda _: fate
    async with executing(cluster) as bench, managing(cluster.kubeconfig, cluster.namespace):
        await bench.executor.submit(ready)
        seen = await bench.over(ready.name)
        assert seen.cause is not None
        assert (seen.cause.code, seen.cause.system) == (code, system)
        await bench.executor.release(ready.name)
        assert await bench.executor.names() == []


async def test_a_secret_is_there_before_its_pod_and_goes_with_its_attempt(cluster: Cluster) -> None:
    ready = replace(
        launch(secret="r1-a0.secret", secret_env=("TOKEN",), secret_files={"file-0": "group/key"}),
        env={"TOKEN": "hush"},
        hidden=frozenset({"TOKEN"}),
        files=(SecretFile("group/key", b"\x00quiet"),),
    )
    cluster.kubelet.script = lambda _: NEVER
    await cluster.collector.watch(SECRETS)
    async with executing(cluster) as bench, managing(cluster.kubeconfig, cluster.namespace):
        await bench.executor.submit(ready)
        await bench.until(ready.name, Presence.RUNNING)
        secret = await cluster.kube.get(SECRETS, Name(cluster.namespace, "r1-a0.secret"))
        assert {key: b64decode(value) for key, value in secret["data"].items()} == {
            "TOKEN": b"hush",
            "file-0": b"\x00quiet",
        }
        action = await bench.action(ready.name)
        assert secret["metadata"]["ownerReferences"][0]["uid"] == action["metadata"]["uid"]
        pod = await cluster.kube.get(PODS, Name(cluster.namespace, ready.name))
        for one in (action, pod):
            assert "hush" not in str(one)
        await bench.executor.release(ready.name)
        await gone(bench, SECRETS)


async def test_the_keys_of_the_object_store_are_in_one_secret_for_all_attempts(cluster: Cluster) -> None:
    common = Common("alula-objects", {"AWS_SECRET_ACCESS_KEY": "hush"})
    share = Share("me", common=common)
    refs = {"AWS_SECRET_ACCESS_KEY": "alula-objects"}
    async with executing(cluster, share) as bench, managing(cluster.kubeconfig, cluster.namespace):
        for number in (1, 2):
            ready = launch(number, secret_refs=refs)
            await bench.executor.submit(ready)
            await bench.over(ready.name)
            pod = await cluster.kube.get(PODS, Name(cluster.namespace, ready.name))
            env = {one["name"]: one for one in pod["spec"]["containers"][0]["env"]}
            source = {"secretKeyRef": {"name": "alula-objects", "key": "AWS_SECRET_ACCESS_KEY"}}
            assert env["AWS_SECRET_ACCESS_KEY"]["valueFrom"] == source
            await bench.executor.release(ready.name)
        assert await bench.names(SECRETS) == ["alula-objects"]
    changed = Share("me", common=replace(common, values={"AWS_SECRET_ACCESS_KEY": "other"}))
    async with executing(cluster, changed) as bench:  # the keys are others, the Secret is there
        await bench.executor.submit(launch(3, secret_refs=refs))
    secret = await cluster.kube.get(SECRETS, Name(cluster.namespace, "alula-objects"))
    assert b64decode(secret["data"]["AWS_SECRET_ACCESS_KEY"]) == b"other"


async def test_a_large_template_goes_by_reference(cluster: Cluster) -> None:
    ready = launch(template=b"x" * 300_000, env={"SMALL": "y"})
    async with executing(cluster) as bench:
        await bench.executor.submit(ready)
        asked = read_request(await bench.action(ready.name))
        assert (asked.template, asked.owner, asked.run_key) == (b"", "me", 1)
        assert bench.objects == {asked.template_uri: b"x" * 300_000}
        assert asked.template_uri.startswith(asked.output_uri)
        assert asked.template_digest == hashlib.sha256(b"x" * 300_000).hexdigest()
        with pytest.raises(LaunchRefused, match="variables"):
            await bench.executor.submit(launch(2, env={"LARGE": "y" * 500_000}))


# Without the Manager


async def test_what_the_cluster_does_not_take_is_refused(cluster: Cluster) -> None:
    async with executing(cluster) as bench:
        with pytest.raises(LaunchRefused) as refused:
            await bench.executor.submit(launch(run="x" * 31))
        assert refused.value.code == "Invalid"
        assert "runName" in str(refused.value)
        assert await bench.executor.names() == []


async def test_an_attempt_that_an_earlier_life_submitted_is_known(cluster: Cluster) -> None:
    ready = launch()
    async with executing(cluster) as bench:
        await bench.executor.submit(ready)
    async with executing(cluster) as bench:
        assert await bench.executor.names() == [ready.name]
        await bench.tell(ready.name, State(Stage.RUNNING, pods=(Pod("p", "n"),)))
        assert (await bench.until(ready.name, Presence.RUNNING)).presence is Presence.RUNNING


async def test_whose_attempts_there_are(cluster: Cluster) -> None:
    """Two replicas share a server's attempts by their runs; another server's are nobody's here."""
    async with (
        executing(cluster, Share("me", lambda run: run == 1)) as first,
        executing(cluster, Share("me", lambda run: run == 2)) as second,
        executing(cluster, Share("you")) as other,
    ):
        one, two, three = launch(1), launch(2), launch(3)
        await first.executor.submit(one)
        await second.executor.submit(two)
        await other.executor.submit(three)
        for bench, mine, known in ((first, one, (one, two)), (second, two, (one, two)), (other, three, (three,))):
            for ready in known:
                await bench.until(ready.name, Presence.ACCEPTED)
            assert await bench.executor.names() == [mine.name]
        assert first.executor.has(two.name)
        assert not first.executor.has(three.name)


async def test_a_crash_leaves_no_secret(cluster: Cluster) -> None:
    """One whose attempt exists is given to it; one whose attempt never came to be is deleted, when it is old."""
    known = replace(launch(secret="known", secret_env=("A",)), env={"A": "x"}, hidden=frozenset("A"))
    young = replace(launch(2, secret="young", secret_env=("A",)), env={"A": "x"}, hidden=frozenset("A"))
    async with executing(cluster) as bench:
        await bench.executor.submit(known)
        unowned = Name(cluster.namespace, "known")
        await cluster.kube.patch(SECRETS, unowned, {"metadata": {"ownerReferences": None}})
        assert young.request is not None
        lone = secret_of(young, replace(young.request, owner="me"), cluster.namespace)
        await cluster.kube.create(SECRETS, lone)
    async with executing(cluster) as bench:
        await bench.executor.names()
        async with asyncio.timeout(PATIENCE):
            while not (await cluster.kube.get(SECRETS, unowned))["metadata"].get("ownerReferences"):
                await asyncio.sleep(0.05)
        assert "young" in await bench.names(SECRETS)


async def test_a_cluster_that_does_not_answer(cluster: Cluster) -> None:
    if cluster.server is None:
        pytest.skip("a real server does not fail on demand")
    async with executing(cluster) as bench:
        ready = launch()
        await bench.executor.submit(ready)
        cluster.server.faults.away = True
        with pytest.raises(Unavailable, match="cluster east"):
            await bench.executor.submit(launch(2))
        with pytest.raises(Unavailable, match="cluster east"):
            await bench.executor.observe(launch(2).name)
        assert (await bench.executor.observe(ready.name)) is not None, "what is known needs no answer"
        with pytest.raises(Unavailable, match="cluster east"):
            await bench.executor.release(ready.name)
        cluster.server.faults.away = False
        await bench.executor.release(ready.name)


async def test_installing_the_resource_twice(cluster: Cluster) -> None:
    await install(cluster.kube)
    await install(cluster.kube)
    found, _ = await cluster.kube.select(Selection(ACTIONS, cluster.namespace))
    assert found == []


async def gone(bench: Bench, kind: Any) -> None:
    """Return once there is nothing of a kind."""
    async with asyncio.timeout(PATIENCE):
        while await bench.names(kind):
            await asyncio.sleep(0.05)  # the collector is a client like any other
