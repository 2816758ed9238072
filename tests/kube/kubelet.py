"""A simulated scheduler and kubelet: a client that gives pods a node, has them run, and ends them as a script tells."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Self

from alula.kube.client import Kube
from alula.kube.mirror import Mirror
from alula.kube.objects import PODS, Busy, Conflict, Exists, Kind, Name, NotFound, Object, Selection
from tests.kube.fates import End, Fate, disrupted, ended, running, unschedulable, waiting
from tests.kube.nodelogs import Container, NodeLogs

NODES = Kind("", "v1", "Node", "nodes", namespaced=False)
Script = Callable[[Object], Fate]


class Kubelet:
    """Looks after the pods of a namespace, in an ``async with``.

    ``script`` says what becomes of a pod; it may be set at any time, for pods to come. ``slow``: seconds between the
    deletion of a pod that runs and its end. ``started`` counts, by pod, how often its containers were.
    """

    def __init__(self, kube: Kube, namespace: str, logs: NodeLogs, script: Script = lambda _: Fate()) -> None:
        self.script = script
        self.slow = 0.0
        self.logs = logs
        self.started: dict[str, int] = {}
        self._kube, self._namespace = kube, namespace
        self._node = f"node-of-{namespace}"
        self.mirror = Mirror(kube, Selection(PODS, namespace), dice=random.Random(0).random)
        self._lives: dict[str, asyncio.Task[None]] = {}  # by uid
        self._told: dict[str, asyncio.Future[Fate]] = {}  # by uid, of those that run until they are told
        self._lost: set[str] = set()  # uids of pods whose node is away: nothing is done for them any more
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._register()
        self.mirror.subscribe(self._see)
        self._running = asyncio.create_task(self.mirror.run())
        await self.mirror.ready.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [task for task in (self._running, *self._lives.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def end(self, pod: Object, fate: Fate) -> None:
        """End a pod that runs until it is told."""
        self._told[pod["metadata"]["uid"]].set_result(fate)

    async def _register(self) -> None:
        """Have a node, which says where the logs of its pods are."""
        with suppress(Exists):
            await self._kube.create(NODES, {"metadata": {"name": self._node}})
        addresses = [{"type": "InternalIP", "address": "127.0.0.1"}]
        status = {"addresses": addresses, "daemonEndpoints": {"kubeletEndpoint": {"Port": self.logs.port}}}
        await self._kube.patch(NODES, Name("", self._node), {"status": status}, status=True)

    def _see(self, name: Name, old: Object | None, new: Object | None) -> None:
        if new is None:
            assert old is not None
            self._stop(old["metadata"]["uid"])
            self.logs.remove(*name)
            return
        uid = new["metadata"]["uid"]
        if "deletionTimestamp" in new["metadata"]:
            if old is None or "deletionTimestamp" not in old["metadata"]:
                self._stop(uid)
                if uid not in self._lost:
                    self._lives[uid] = asyncio.create_task(self._kill(new))
        elif uid not in self._lives and new["status"].get("phase") in (None, "Pending"):
            self._lives[uid] = asyncio.create_task(self._live(new))

    def _stop(self, uid: str) -> None:
        if uid in self._lives:
            self._lives[uid].cancel()

    async def _live(self, pod: Object) -> None:
        fate = self.script(pod)
        if fate.end is End.UNSCHEDULABLE:
            await self._show(pod, unschedulable(fate.message))
            return
        if not pod["spec"].get("nodeName"):
            await self._bind(pod)
        if fate.end in (End.BAD_IMAGE, End.CREATING):
            await self._show(pod, waiting(pod, fate.end.value, fate.message))
            return
        began = datetime.now(UTC)
        self._start(pod, fate)
        if fate.after or fate.end is End.NEVER:
            await self._show(pod, running(pod, began))
        if fate.end is End.NEVER:
            told = self._told[pod["metadata"]["uid"]] = asyncio.get_running_loop().create_future()
            fate = await told
        await asyncio.sleep(fate.after)
        if fate.end is End.NODE_LOST:
            await self._lose(pod, began, "DeletionByTaintManager", ready=False)
        elif fate.end is End.PREEMPTED:
            await self._lose(pod, began, "PreemptionByScheduler", ready=True)
        else:
            await self._show(pod, ended(pod, fate, began, datetime.now(UTC)))
            self._finish(pod)

    async def _kill(self, pod: Object) -> None:
        await asyncio.sleep(self.slow)
        uid, name = pod["metadata"]["uid"], self._name(pod)
        self._finish(pod)
        await self._insist(lambda: self._kube.delete(PODS, name, uid=uid, grace=0))

    async def _lose(self, pod: Object, began: datetime, reason: str, *, ready: bool) -> None:
        """The cluster deletes a pod; of one whose node is lost nobody ends anything."""
        uid, name = pod["metadata"]["uid"], self._name(pod)
        now = running(pod, began)
        await self._show(pod, now | {"conditions": disrupted({"status": now}, reason, ready=ready)})
        await self._insist(lambda: self._kube.delete(PODS, name, uid=uid, grace=0))

    async def _bind(self, pod: Object) -> None:
        name = self._name(pod)
        kind = Kind("", "v1", "Binding", f"pods/{name.name}/binding")
        value = {"metadata": name._asdict(), "target": {"apiVersion": "v1", "kind": "Node", "name": self._node}}
        await self._insist(lambda: self._kube.create(kind, value))

    async def _show(self, pod: Object, status: Object) -> None:
        await self._insist(lambda: self._kube.patch(PODS, self._name(pod), {"status": status}, status=True))

    async def _insist(self, do: Callable[[], Awaitable[object]]) -> None:
        """A kubelet does not give up while the pod is there."""
        while True:
            try:
                await do()
            except Busy:
                await asyncio.sleep(0.02)
            except (NotFound, Conflict):
                return
            else:
                return

    def _start(self, pod: Object, fate: Fate) -> None:
        name = pod["metadata"]["name"]
        self.started[name] = self.started.get(name, 0) + 1
        for container in self._containers(pod):
            self.logs.write(container, *fate.log)

    def _finish(self, pod: Object) -> None:
        for container in self._containers(pod):
            self.logs.end(container)

    def _containers(self, pod: Object) -> list[Container]:
        parts = [*(pod["spec"].get("initContainers") or []), *pod["spec"]["containers"]]
        return [Container(*self._name(pod), one["name"]) for one in parts]

    def _name(self, pod: Object) -> Name:
        return Name(self._namespace, pod["metadata"]["name"])
