"""What there is of one kind in a cluster, kept in step by a list and watches: the objects that a program looks at."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import aclosing

from alula.kube.client import Kube
from alula.kube.objects import Busy, Gone, Happened, KubeError, Name, NotFound, Object, Selection, name_of, version_of

_log = logging.getLogger(__name__)
_SHORTEST, _LONGEST = 0.2, 30.0  # seconds between two tries: the second time, at most
_MISSING = 30.0  # seconds until it is looked again for a kind that is not installed

Told = Callable[[Name, Object | None, Object | None], None]  # which, before, after
Keys = Callable[[Object], Iterable[str]]


class Mirror:
    """Objects by name and by what ``indexes`` make of them. Run `run` beside those who look.

    ``slim`` makes of an object what is kept of it: at least its namespace, name, uid and version. ``dice`` gives
    numbers from 0 to 1. ``spare``: who may not see this kind goes on without it, as if it were not installed.
    """

    def __init__(
        self,
        kube: Kube,
        which: Selection,
        *,
        dice: Callable[[], float],
        slim: Callable[[Object], Object] = lambda found: found,
        indexes: Mapping[str, Keys] | None = None,
        spare: bool = False,
    ) -> None:
        self.which = which
        self._spare = spare
        self.ready = asyncio.Event()  # everything that was there is here
        self._kube = kube
        self._dice, self._slim = dice, slim
        self._objects: dict[Name, Object] = {}
        self._indexes = dict(indexes or {})
        self._under: dict[str, defaultdict[str, set[Name]]] = {name: defaultdict(set) for name in self._indexes}
        self._told: list[Told] = []
        self._version = ""  # everything until then is here
        self._failures = 0

    def __len__(self) -> int:
        return len(self._objects)

    def get(self, name: Name) -> Object | None:
        """An object, as it was when it was last heard of."""
        return self._objects.get(name)

    def values(self) -> Iterable[Object]:
        return self._objects.values()

    def under(self, index: str, key: str) -> list[Object]:
        """The objects of which an index makes this key, in the order of their names."""
        return [self._objects[name] for name in sorted(self._under[index].get(key, ()))]

    def subscribe(self, told: Told) -> None:
        """Be told of every change, at once."""
        self._told.append(told)

    def put(self, found: Object, *, quietly: bool = False) -> None:
        """What a write has returned: it is seen before the watch tells of it. An older version changes nothing.

        ``quietly``: nobody is told, as who has written goes on by themselves.
        """
        name = name_of(found)
        if name in self._objects or _number(found) > _int(self._version):  # else it has come and gone already
            self._set(name, self._slim(found), quietly=quietly)

    def drop(self, found: Object) -> None:
        """What was deleted: it is not seen any more, before the watch tells of it."""
        self._remove(found)

    async def run(self) -> None:
        """Follow the cluster until it is cancelled."""
        while True:
            pause = None
            try:
                await self._follow()
            except Gone:
                self._version = ""
            except NotFound:
                self._reset([], "")
                self.ready.set()
                pause, self._failures = _MISSING, 0
            except KubeError as error:
                pause = error.after if isinstance(error, Busy) else None
                if self._spare and error.reason == "Forbidden":
                    pause = _MISSING
                    self.ready.set()
                if self._failures == 0:
                    _log.warning("%s: %s; trying again", self.which.kind.plural, error)
            except Exception:
                _log.exception("the watch of %s failed; trying again", self.which.kind.plural)
                self._version = ""
            await asyncio.sleep(max(pause or 0.0, self._pause()))

    async def _follow(self) -> None:
        if not self._version:
            found, version = await self._kube.select(self.which, self._slim)
            self._reset(found, version)
            self.ready.set()
        async with aclosing(self._kube.watch(self.which, self._version)) as watch:
            async for happened, one in watch:
                self._failures = 0
                if happened is Happened.DELETED:
                    self._remove(one)
                elif happened is not Happened.BOOKMARK:
                    self._set(name_of(one), self._slim(one))
                self._version = version_of(one)

    def _pause(self) -> float:
        """Seconds until the next try: none after one that has brought something, then longer each time."""
        self._failures += 1
        if self._failures == 1:
            return 0.0
        longest = min(_LONGEST, _SHORTEST * 2.0 ** min(self._failures - 2, 20))
        return longest * (0.5 + self._dice() / 2)

    def _reset(self, found: list[Object], version: str) -> None:
        """Have just what a list has. What was written since is newer, and stays."""
        listed = {name_of(one): one for one in found}
        seen = _int(version)
        for name, one in list(self._objects.items()):
            other = listed.get(name)
            if other is None and (not seen or _number(one) <= seen):
                self._remove(one)
        for name, one in listed.items():
            self._set(name, one)
        self._version = version

    def _set(self, name: Name, new: Object, *, quietly: bool = False) -> None:
        old = self._objects.get(name)
        if old is not None and _number(old) >= _number(new):
            return
        if old is not None and _uid(old) != _uid(new):
            self._remove(old)  # another one of that name: that this one went was not told
            old = None
        self._objects[name] = new
        self._index(name, old, new)
        if not quietly:
            self._tell(name, old, new)

    def _remove(self, found: Object) -> None:
        name = name_of(found)
        old = self._objects.get(name)
        if old is None or _uid(old) != _uid(found):
            return
        del self._objects[name]
        self._index(name, old, None)
        self._tell(name, old, None)

    def _index(self, name: Name, old: Object | None, new: Object | None) -> None:
        for index, keys in self._indexes.items():
            under = self._under[index]
            for key in keys(old) if old else ():
                under[key].discard(name)
                if not under[key]:
                    del under[key]
            for key in keys(new) if new else ():
                under[key].add(name)

    def _tell(self, name: Name, old: Object | None, new: Object | None) -> None:
        for told in self._told:
            told(name, old, new)


def _number(found: Object) -> int:
    return _int(version_of(found))


def _int(version: str) -> int:
    """Versions are numbers that grow (Kubernetes 1.35 says so; before, they were all the same)."""
    return int(version) if version.isdigit() else 0


def _uid(found: Object) -> str:
    return str(found["metadata"].get("uid", ""))
