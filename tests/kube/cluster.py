"""The fixture ``cluster``: the same tests on the API server in memory and on a real one, where it is found.

Both have the same simulated kubelet and the same garbage collector, which are clients. Import ``cluster`` and
``real_kubeconfig`` in a ``conftest.py``.
"""

import itertools
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
import yaml

from alula.kube.client import Kube
from alula.kube.objects import CRDS, NAMESPACES, PODS, Exists, Kind, Name, NotFound, Object, Selection
from tests.kube.apiserver import ApiServer, api_server
from tests.kube.collector import Collector
from tests.kube.kubelet import Kubelet
from tests.kube.nodelogs import NodeLogs, node_logs
from tests.kube.real import kubeconfig, programs, real_server

_NUMBERS = itertools.count(1)
_TOKEN = "a-token-of-tests"


@dataclass
class Cluster:
    """A cluster with a namespace of the test's own. ``server`` is the one in memory, None is a real one."""

    kube: Kube
    namespace: str
    kubeconfig: Path
    kubelet: Kubelet
    collector: Collector
    server: ApiServer | None = None

    async def install(self, crd: Object | Path) -> Kind:
        """Have a kind that a CustomResourceDefinition brings; its objects are collected, too."""
        value = yaml.safe_load(crd.read_text()) if isinstance(crd, Path) else crd
        with suppress(Exists):
            await self.kube.create(CRDS, value)
        spec = value["spec"]
        version = next(one["name"] for one in spec["versions"] if one["storage"])
        names = spec["names"]
        kind = Kind(spec["group"], version, names["kind"], names["plural"], spec["scope"] == "Namespaced")
        await self._until_served(value["metadata"]["name"], kind)
        await self.collector.watch(kind)
        return kind

    async def _until_served(self, name: str, kind: Kind) -> None:
        _, version = await self.kube.select(Selection(CRDS))
        found = await self.kube.get(CRDS, Name("", name))
        if not _established(found):
            async for _, one in self.kube.watch(Selection(CRDS), version):
                if one["metadata"].get("name") == name and _established(one):
                    break
        while True:  # a real server serves a kind a little later than it says
            with suppress(NotFound):
                await self.kube.select(Selection(kind, self.namespace))
                return


def _established(crd: Object) -> bool:
    conditions = (crd.get("status") or {}).get("conditions") or []
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)


@pytest.fixture(scope="session")
def real_kubeconfig() -> Iterator[Path]:
    """A kubeconfig of a real cluster: the one that ``ALULA_TEST_KUBECONFIG`` names, else of a server of these tests."""
    named = os.environ.get("ALULA_TEST_KUBECONFIG")
    if named:
        yield Path(named)
        return
    folder = programs()
    if folder is None:
        pytest.skip("no kube-apiserver and etcd in $KUBEBUILDER_ASSETS or /usr/local/kubebuilder/bin")
    with real_server(folder) as path:
        yield path


@pytest_asyncio.fixture(params=["memory", "real"])
async def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Cluster]:
    """A cluster with a kubelet and a garbage collector."""
    real = request.getfixturevalue("real_kubeconfig") if request.param == "real" else None
    async with beginning(tmp_path, real) as found:
        yield found


@asynccontextmanager
async def beginning(
    folder: Path, real: Path | None, node: Callable[[Kube, str, NodeLogs], Kubelet] = Kubelet
) -> AsyncIterator[Cluster]:
    """A namespace of a real cluster, if one is given, else a cluster in memory, with a ``node`` for its pods."""
    async with AsyncExitStack() as stack:
        server, path = None, real
        if path is None:
            server = await stack.enter_async_context(api_server())
            server.token = _TOKEN
            path = kubeconfig(folder / "kubeconfig", server.url, _TOKEN)
        namespace = f"test-{os.getpid()}-{next(_NUMBERS)}"
        kube = await stack.enter_async_context(Kube.connect(path, namespace=namespace))
        await kube.create(NAMESPACES, {"metadata": {"name": namespace}})
        logs = await stack.enter_async_context(node_logs(folder))
        kubelet = await stack.enter_async_context(node(kube, namespace, logs))
        collector = await stack.enter_async_context(Collector(kube, namespace, [PODS]))
        yield Cluster(kube, namespace, path, kubelet, collector, server)
