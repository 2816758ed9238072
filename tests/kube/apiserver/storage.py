"""What the server keeps: the objects of each kind and what happened to them, each with the version of its moment."""

import asyncio
import itertools
from bisect import bisect_right
from dataclasses import dataclass, field

import msgspec

from alula.kube.objects import (
    CRDS,
    EVENTS,
    LEASES,
    NAMESPACES,
    POD_TEMPLATES,
    PODS,
    SECRETS,
    Happened,
    Kind,
    Name,
    Object,
)
from tests.kube.apiserver.patches import Path
from tests.kube.apiserver.refusals import Refusal
from tests.kube.apiserver.schemas import Schema

NODES = Kind("", "v1", "Node", "nodes", namespaced=False)
CONFIG_MAPS = Kind("", "v1", "ConfigMap", "configmaps")
BUILT_IN = (PODS, SECRETS, EVENTS, POD_TEMPLATES, NAMESPACES, LEASES, CRDS, NODES, CONFIG_MAPS)
WITH_STATUS = (PODS, NAMESPACES, CRDS, NODES)
_KEPT = 200_000  # events of a kind
_encode = msgspec.json.encode


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that happened. ``new`` of a deletion is the last that the object was, at the version of its end."""

    version: int
    happened: Happened
    new: Object
    old: Object | None
    data: bytes  # ``new`` on the wire


@dataclass(eq=False)
class Shelf:
    """The objects of one kind. ``skipped``: entries that the log has lost at its beginning."""

    kind: Kind
    schema: Schema | None = None
    has_status: bool = False
    objects: dict[Name, Entry] = field(default_factory=dict)
    log: list[Entry] = field(default_factory=list)
    skipped: int = 0
    applied: dict[tuple[Name, str], set[Path]] = field(default_factory=dict)  # by manager: what it has set
    news: asyncio.Event = field(default_factory=asyncio.Event)  # set when something happens; there is a new one then

    def get(self, name: Name) -> Object:
        if name not in self.objects:
            raise self.missing(name)
        return self.objects[name].new

    def missing(self, name: Name) -> Refusal:
        return Refusal(404, f'{self.kind.plural} "{name.name}" not found')

    def after(self, version: int) -> int:
        """The place in the log (counting lost ones) after this version."""
        return self.skipped + bisect_right(self.log, version, key=lambda entry: entry.version)

    def record(self, entry: Entry) -> None:
        self.log.append(entry)
        if len(self.log) > _KEPT:
            self.forget(_KEPT // 2)
        self.news.set()
        self.news = asyncio.Event()

    def forget(self, kept: int = 0) -> None:
        lost = max(0, len(self.log) - kept)
        del self.log[:lost]
        self.skipped += lost


class Storage:
    """All shelves, and the one counter of versions. ``oldest``: versions before it are not known any more."""

    def __init__(self) -> None:
        self._versions = itertools.count(1)
        self.version = 0
        self.oldest = 0
        self._shelves: dict[tuple[str, str], Shelf] = {}
        for kind in BUILT_IN:
            self.install(Shelf(kind, has_status=kind in WITH_STATUS))

    def install(self, shelf: Shelf) -> None:
        """Have a kind, or have it anew with another schema."""
        key = (shelf.kind.group, shelf.kind.plural)
        old = self._shelves.get(key)
        if old is None:
            self._shelves[key] = shelf
        else:
            old.kind, old.schema, old.has_status = shelf.kind, shelf.schema, shelf.has_status

    def remove(self, group: str, plural: str) -> None:
        self._shelves.pop((group, plural), None)

    def shelf(self, group: str, version: str, plural: str) -> Shelf:
        """Raises: Refusal: 404: there is no such kind."""
        shelf = self._shelves.get((group, plural))
        if shelf is None or shelf.kind.version != version:
            raise Refusal(404, "the server could not find the requested resource")
        return shelf

    def of(self, kind: Kind) -> Shelf:
        return self.shelf(kind.group, kind.version, kind.plural)

    def shelves(self) -> list[Shelf]:
        return list(self._shelves.values())

    def forget(self) -> None:
        """Have all versions until now be too old to go on from."""
        self.oldest = self.version
        for shelf in self._shelves.values():
            shelf.forget()

    def write(self, shelf: Shelf, name: Name, value: Object) -> Object:
        """Keep an object as it is now; its version is set."""
        old = shelf.objects.get(name)
        entry = self._entry(Happened.MODIFIED if old else Happened.ADDED, value, old)
        shelf.objects[name] = entry
        shelf.record(entry)
        return entry.new

    def erase(self, shelf: Shelf, name: Name, value: Object) -> Object:
        """Have no such object any more; ``value`` is the last that it was."""
        entry = self._entry(Happened.DELETED, value, shelf.objects.pop(name))
        shelf.record(entry)
        for key in [key for key in shelf.applied if key[0] == name]:
            del shelf.applied[key]
        return entry.new

    def _entry(self, happened: Happened, value: Object, old: Entry | None) -> Entry:
        self.version = next(self._versions)
        new = {**value, "metadata": {**value["metadata"], "resourceVersion": str(self.version)}}
        return Entry(self.version, happened, new, old.new if old else None, _encode(new))
