"""A server that sends its tasks to a cluster: a Manager, and a node whose containers are processes of this machine."""

import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal

from alula.core.quantity import parse
from alula.core.taskaction import ATTEMPT, GROUP, KIND, PLURAL, VERSION
from alula.kube.client import Kube
from alula.kube.objects import PODS, SECRETS, Kind, Object, Selection
from alula.manager import crds
from tests.kube.cluster import Cluster, beginning
from tests.kube.fates import End, Fate
from tests.kube.kubelet import Kubelet
from tests.kube.node import Node
from tests.kube.nodelogs import NodeLogs

from .user import BIN, PATIENCE, Served, User, serving

ACTIONS = Kind(GROUP, VERSION, KIND, PLURAL)
UNREACHABLE = "registry.invalid"  # there is no image there
T = TypeVar("T")


@dataclass
class Site:
    """A cluster with a node, and a server that sends its tasks there. ``call`` awaits something in the node's loop."""

    cluster: Cluster
    node: Node
    served: Served
    manager: "subprocess.Popen[bytes]"
    portal: BlockingPortal

    def call(self, do: Callable[[], Awaitable[T]]) -> T:
        return self.portal.call(do)

    def pods(self, run: str = "") -> list[Object]:
        """Those of a run, or all."""
        found, _ = self.call(lambda: self.cluster.kube.select(Selection(PODS, self.cluster.namespace)))
        return [one for one in found if one["metadata"]["labels"][ATTEMPT].startswith(run)]

    def left(self) -> list[str]:
        """What is there of all attempts."""
        names = []
        for kind in (ACTIONS, PODS, SECRETS):
            labels = "" if kind is ACTIONS else ATTEMPT
            found, _ = self.call(partial(self.cluster.kube.select, Selection(kind, self.cluster.namespace, labels)))
            names += [f"{kind.plural}/{one['metadata']['name']}" for one in found]
        return names

    def until_left(self, names: list[str]) -> None:
        """Wait until nothing else is."""
        soon(lambda: self.left() == names, lambda: f"there still is {self.left()}")


def soon(condition: Callable[[], T], otherwise: Callable[[], str] = lambda: "it did not happen") -> T:
    """Wait for what nobody tells of: a garbage collector is a client like any other. What the condition says then."""
    until = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < until, otherwise()
        time.sleep(0.05)
    return found


@contextmanager
def on_a_cluster(folder: Path, real: Path | None, more: Callable[[Served], str] = lambda _: "") -> Iterator[Site]:
    """In memory, or a namespace of a ``real`` one. ``more``: what else the Manager is told, in TOML."""

    def node(kube: Kube, namespace: str, logs: NodeLogs) -> Kubelet:
        return Node(kube, namespace, logs, folder / "pods")

    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(beginning(folder, real, node)) as cluster,
    ):
        portal.call(cluster.install, crds.taskactions())
        portal.call(cluster.collector.watch, SECRETS)
        assert isinstance(cluster.kubelet, Node)
        cluster.kubelet.script = _script
        place = f'kubeconfig = "{cluster.kubeconfig}"\nnamespace = "{cluster.namespace}"'
        said = f"[projects]\ncreate_missing = true\n[clusters.here]\n{place}\ndefault = true\n"
        with serving(folder / "home", said) as served, managing(folder, cluster, served.port, more(served)) as manager:
            yield Site(cluster, cluster.kubelet, served, manager, portal)


def _script(pod: Object) -> Fate:
    """No image of some registry can be pulled, and a node has less than a thousand cores."""
    container = pod["spec"]["containers"][0]
    if container["image"].startswith(UNREACHABLE):
        return Fate(End.BAD_IMAGE, message=f'Back-off pulling image "{container["image"]}"')
    return Fate(End.UNSCHEDULABLE) if parse(container["resources"]["requests"]["cpu"]) >= 1000 else Fate()


@contextmanager
def managing(folder: Path, there: Cluster, port: int, more: str = "") -> Iterator["subprocess.Popen[bytes]"]:
    """A Manager, which has to end well."""
    file = folder / "manager.toml"
    file.write_text(
        f'[manager]\nkubeconfig = "{there.kubeconfig}"\nnamespace = "{there.namespace}"\ncluster = "here"\n'
        f'control_plane = "http://localhost:{port}"\nlisten = "127.0.0.1:0"\n'
        f"[manager.pods]\nimage_pull_grace = 1\n{more}"
    )
    command = [str(BIN / "alula"), "manager", "--config", str(file)]
    with (folder / "manager.log").open("w+b") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield process
            process.terminate()
            code = process.wait(PATIENCE)
            log.seek(0)
            said = log.read().decode()
            assert code == 0, f"the Manager ended with {code}:\n{said[-8000:]}"
            assert "Traceback" not in said, said[-8000:]
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def user_of(site: Site, home: Path) -> User:
    """Somebody who uses its server."""
    home.mkdir(exist_ok=True)
    return User(home, site.served.home, site.served.port)
