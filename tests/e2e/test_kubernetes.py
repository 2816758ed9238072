"""The SDK's own programs on a cluster: TaskActions, the Manager, and pods whose containers are processes here."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest_asyncio

from alula.core.taskaction import GROUP, KIND, PLURAL, VERSION
from alula.kube.objects import PODS, SECRETS, Kind, Selection
from alula.manager import crds
from tests.kube.cluster import Cluster, cluster, real_kubeconfig
from tests.kube.node import Node

from .user import BIN, Served, User, serving

__all__ = ["cluster", "real_kubeconfig"]
ACTIONS = Kind(GROUP, VERSION, KIND, PLURAL)
PATIENCE = 90.0  # seconds until a program that hangs is a failure


@dataclass
class Site:
    """A cluster with a node, a Manager, and a server that sends its tasks there."""

    cluster: Cluster
    node: Node
    user: User
    manager: asyncio.subprocess.Process

    async def python(self, program: str, *arguments: str) -> dict[str, object]:
        return await asyncio.to_thread(self.user.python, program, *arguments)

    async def flyte(self, *words: str, fails: bool = False) -> str:
        return await asyncio.to_thread(lambda: self.user.flyte(*words, fails=fails))

    async def left(self) -> list[str]:
        """What is there of all attempts."""
        names = []
        for kind in (ACTIONS, PODS, SECRETS):
            found, _ = await self.cluster.kube.select(Selection(kind, self.cluster.namespace))
            names += [f"{kind.plural}/{one['metadata']['name']}" for one in found]
        return names

    async def until_nothing_is_left(self) -> None:
        async with asyncio.timeout(PATIENCE):
            while await self.left():
                await asyncio.sleep(0.2)  # the collector is a client like any other: nobody tells when it is done


@asynccontextmanager
async def managed(there: Cluster, port: int) -> AsyncIterator[asyncio.subprocess.Process]:
    command = [str(BIN / "alula"), "manager", "--kubeconfig", str(there.kubeconfig), "--namespace", there.namespace]
    command += ["--control-plane", f"http://localhost:{port}", "--listen", "127.0.0.1:0"]
    process = await asyncio.create_subprocess_exec(*command, stdout=sys.stderr, stderr=sys.stderr)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        await process.wait()


@pytest_asyncio.fixture
async def site(cluster: Cluster, tmp_path: Path) -> AsyncIterator[Site]:
    await cluster.install(crds.taskactions())
    await cluster.collector.watch(SECRETS)
    await cluster.kubelet.__aexit__()  # its pods only say that they run
    told = f'[clusters.here]\nkubeconfig = "{cluster.kubeconfig}"\nnamespace = "{cluster.namespace}"\ndefault = true\n'
    place = serving(tmp_path / "home", told)
    served: Served = await asyncio.to_thread(place.__enter__)
    try:
        user = User(tmp_path / "user", served.home, served.port)
        (tmp_path / "user").mkdir(exist_ok=True)
        async with (
            Node(cluster.kube, cluster.namespace, cluster.kubelet.logs, tmp_path / "pods") as node,
            managed(cluster, served.port) as manager,
        ):
            yield Site(cluster, node, user, manager)
    finally:
        await asyncio.to_thread(place.__exit__, None, None, None)


async def test_a_tree_of_tasks(site: Site) -> None:
    run = await asyncio.to_thread(site.user.start, "shapes.py", "top")
    assert await asyncio.to_thread(site.user.outputs, run) == "ActionOutputs(o0=['top', 'middle', 'leaf'])"
    assert sum(site.node.started.values()) >= 3
    assert set(site.node.started.values()) == {1}
    await site.until_nothing_is_left()
