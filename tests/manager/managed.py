"""A Manager at work in a cluster of tests, and what a control plane does beside it: create, look, delete."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from flyteidl2.core import tasks_pb2

from alula.core.ids import ActionId, RunId
from alula.core.naming import attempt_name
from alula.core.taskaction import Request, State
from alula.core.taskspec import manifest
from alula.core.taskstatus import read_state
from alula.kube.client import Kube
from alula.kube.mirror import Mirror
from alula.kube.objects import PODS, Kind, Name, NotFound, Object, Selection
from alula.manager.crds import taskactions
from alula.manager.loader import own
from alula.manager.metrics import Metrics
from alula.manager.plugins.base import Plugin, Store
from alula.manager.program import Program
from alula.manager.settings import Manager
from alula.manager.world import ACTIONS
from tests.kube.cluster import Cluster

PATIENCE = 30.0  # seconds for anything to happen

CONTAINER = tasks_pb2.TaskTemplate(
    type="container",
    container=tasks_pb2.Container(image="busybox", command=["true"]),
)
RAY_CRD: Object = yaml.safe_load(
    """
    metadata: {name: rayjobs.ray.io}
    spec:
      group: ray.io
      scope: Namespaced
      names: {kind: RayJob, plural: rayjobs, singular: rayjob, listKind: RayJobList}
      versions:
        - name: v1
          served: true
          storage: true
          subresources: {status: {}}
          schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
    """
)


def request(number: int = 1, attempt: int = 1, **said: Any) -> Request:
    """An attempt of a container task; each ``number`` is a run of its own."""
    action = ActionId(RunId("shop", "development", f"r{number}"), "a0")
    made = Request(
        name=attempt_name(action, attempt),
        project="shop",
        domain="development",
        run=action.run.name,
        action=action.name,
        attempt=attempt,
        task_type="container",
        template=CONTAINER.SerializeToString(),
        output_uri=f"s3://data/r{number}/a0/{attempt}",
    )
    return replace(made, **said)


class Control:
    """What a control plane does in a cluster."""

    def __init__(self, cluster: Cluster, kube: Kube | None = None) -> None:
        self.kube, self.namespace = kube or cluster.kube, cluster.namespace
        self.mirror = Mirror(self.kube, Selection(ACTIONS, self.namespace), dice=random.Random(0).random)
        self.changes: list[tuple[str, State]] = []
        self._changed = asyncio.Event()
        self.mirror.subscribe(self._see)

    def _see(self, name: Name, _old: Object | None, new: Object | None) -> None:
        state = read_state(new.get("status") or {}) if new else None
        if state is not None and (name.name, state) not in self.changes[-1:]:
            self.changes.append((name.name, state))
        self._changed.set()
        self._changed = asyncio.Event()

    async def submit(self, asked: Request) -> Object:
        return await self.kube.create(ACTIONS, manifest(asked, self.namespace))

    async def release(self, name: str) -> None:
        await self.kube.delete(ACTIONS, Name(self.namespace, name))

    def state(self, name: str) -> State | None:
        found = self.mirror.get(Name(self.namespace, name))
        return read_state(found.get("status") or {}) if found else None

    async def until(self, name: str, fits: Callable[[State], bool]) -> State:
        """The state of an attempt once it is as it should be."""
        try:
            async with asyncio.timeout(PATIENCE):
                while (state := self.state(name)) is None or not fits(state):
                    await self._changed.wait()
        except TimeoutError:
            raise TimeoutError(f"{name} is {self.state(name)}; {await self._found(name)}") from None
        return state

    async def _found(self, name: str) -> str:
        """What there is of an attempt in truth, for people who look for a mistake."""
        found = [await self.there(kind, name) for kind in (ACTIONS, PODS)]
        return "; ".join("gone" if one is None else f"{one['kind']} {one.get('status')}" for one in found)

    async def over(self, names: Iterable[str]) -> list[State]:
        return [await self.until(name, lambda state: state.stage.over) for name in names]

    async def gone(self, kind: Kind, count: int = 0) -> list[Object]:
        """Return once there are at most so many objects of a kind."""
        which = Selection(kind, self.namespace)
        async with asyncio.timeout(PATIENCE):
            while True:
                found, version = await self.kube.select(which)
                if len(found) <= count:
                    return found
                async for _ in self.kube.watch(which, version):
                    break

    async def come(self, kind: Kind, name: str) -> Object:
        """An object once it is there."""
        which = Selection(kind, self.namespace)
        async with asyncio.timeout(PATIENCE):
            while (found := await self.there(kind, name)) is None:
                _, version = await self.kube.select(which)
                if await self.there(kind, name) is None:
                    async for _ in self.kube.watch(which, version):
                        break
        return found

    async def there(self, kind: Kind, name: str) -> Object | None:
        try:
            return await self.kube.get(kind, Name(self.namespace, name))
        except NotFound:
            return None


@asynccontextmanager
async def control(cluster: Cluster) -> AsyncIterator[Control]:
    """A control plane beside a cluster that knows TaskActions."""
    await cluster.install(taskactions())
    made = Control(cluster)
    following = asyncio.create_task(made.mirror.run())
    try:
        await made.mirror.ready.wait()
        yield made
    finally:
        following.cancel()


def by_type(plugins: Iterable[Plugin]) -> dict[str, Plugin]:
    return {task_type: plugin for plugin in plugins for task_type in plugin.types}


@asynccontextmanager
async def managing(
    where: Path, namespace: str, plugins: Iterable[Plugin] | None = None, store: Store | None = None, **said: Any
) -> AsyncIterator[Program]:
    """A Manager at work; it is stopped as SIGTERM stops it."""
    settings = Manager(**{"namespace": namespace, "groups": 1, "workers": 16, "listen": "", "replica": "one", **said})
    metrics = Metrics()
    stop, said_ready = asyncio.Event(), asyncio.Event()

    def say(line: str) -> None:
        if "is ready" in line:
            said_ready.set()

    async with Kube.connect(where, namespace=namespace, count=metrics.called) as kube:
        program = Program(settings, by_type(own() if plugins is None else plugins), kube, metrics, store)
        running = asyncio.create_task(program.run(stop, say))
        ready = asyncio.create_task(said_ready.wait())
        try:
            await asyncio.wait({running, ready}, return_when=asyncio.FIRST_COMPLETED)
            yield program
        finally:
            ready.cancel()
            stop.set()
            await running
