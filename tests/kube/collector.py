"""A small garbage collector as a client: objects whose owners are all gone are deleted, as controllers of a real
cluster do. Foreground deletion waits for dependents; orphans are let go.
"""

import asyncio
import random
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Self

from alula.kube.client import Kube
from alula.kube.mirror import Mirror
from alula.kube.objects import Busy, Conflict, Kind, Name, NotFound, Object, Selection, name_of

_FINALIZERS = ("foregroundDeletion", "orphan")


class _Which(NamedTuple):
    kind: Kind
    name: Name


class Collector:
    """Collects objects of some kinds in a namespace, in an ``async with``."""

    def __init__(self, kube: Kube, namespace: str, kinds: Sequence[Kind]) -> None:
        self._kube, self._namespace = kube, namespace
        self._mirrors: dict[Kind, Mirror] = {}
        self._found: asyncio.Queue[_Which] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []
        self._kinds = list(kinds)

    async def __aenter__(self) -> Self:
        for kind in self._kinds:
            await self.watch(kind)
        self._tasks.append(asyncio.create_task(self._work()))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def watch(self, kind: Kind) -> None:
        """Look after objects of this kind, too; returns when all of them are known."""
        dice = random.Random(0).random
        mirror = Mirror(self._kube, Selection(kind, self._namespace), dice=dice, indexes={"owner": _owners})
        self._mirrors[kind] = mirror
        mirror.subscribe(lambda name, old, new: self._see(_Which(kind, name), old, new))
        self._tasks.append(asyncio.create_task(mirror.run()))
        await mirror.ready.wait()

    def _see(self, which: _Which, old: Object | None, new: Object | None) -> None:
        one = new or old
        assert one is not None
        if new is None or set(new["metadata"].get("finalizers") or []) & set(_FINALIZERS):
            self._found.put_nowait(which)  # an owner that is to go first, or last
            for dependent in self._dependents(one):
                self._found.put_nowait(dependent)
        elif new["metadata"].get("ownerReferences"):
            self._found.put_nowait(which)
        for owner in one["metadata"].get("ownerReferences") or []:
            kind = self._kind(owner)
            if new is None and kind is not None:
                self._found.put_nowait(_Which(kind, Name(which.name.namespace, owner["name"])))

    def _dependents(self, owner: Object) -> list[_Which]:
        uid = owner["metadata"]["uid"]
        return [
            _Which(kind, name_of(one)) for kind, mirror in self._mirrors.items() for one in mirror.under("owner", uid)
        ]

    async def _work(self) -> None:
        while True:
            which = await self._found.get()
            try:
                await self._look(which)
            except (Busy, Conflict):
                await asyncio.sleep(0.02)
                self._found.put_nowait(which)
            except NotFound:
                pass

    async def _look(self, which: _Which) -> None:
        one = self._mirrors[which.kind].get(which.name)
        if one is None:
            return
        meta = one["metadata"]
        finalizers = meta.get("finalizers") or []
        if "deletionTimestamp" in meta and set(finalizers) & set(_FINALIZERS):
            await self._finish(which, one, finalizers)
        owners = meta.get("ownerReferences") or []
        if not owners or "deletionTimestamp" in meta:
            return
        stay = [await self._stays(owner, which.name.namespace) for owner in owners]
        if not any(stay):
            await self._kube.delete(which.kind, which.name, uid=meta["uid"])

    async def _finish(self, which: _Which, one: Object, finalizers: list[str]) -> None:
        dependents = self._dependents(one)
        if "orphan" in finalizers:
            for kind, name in dependents:
                await self._kube.patch(kind, name, {"metadata": {"ownerReferences": None}})
        elif dependents:
            for kind, name in dependents:
                await self._kube.delete(kind, name)
            return  # when the last of them is gone it is looked again
        left = [finalizer for finalizer in finalizers if finalizer not in _FINALIZERS]
        await self._kube.patch(which.kind, which.name, {"metadata": {"finalizers": left or None}})

    async def _stays(self, owner: Object, namespace: str) -> bool:
        kind = self._kind(owner)
        if kind is None:
            return True
        try:
            found = await self._kube.get(kind, Name(namespace if kind.namespaced else "", owner["name"]))
        except NotFound:
            return False
        return bool(found["metadata"]["uid"] == owner["uid"])

    def _kind(self, owner: Object) -> Kind | None:
        said = (owner["apiVersion"], owner["kind"])
        return next((kind for kind in self._mirrors if (kind.api_version, kind.kind) == said), None)


def _owners(one: Object) -> Iterable[str]:
    return [owner["uid"] for owner in one["metadata"].get("ownerReferences") or []]
