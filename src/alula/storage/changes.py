"""Who wants to know that something changed. A change says "look now"; what it is now, the rows say."""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from alula.core.ids import ROOT
from alula.core.phase import Phase


class Change(NamedTuple):
    """An action's row changed, and this is its phase now. ``parent`` is "" for a root."""

    run: int
    action: str
    parent: str
    phase: Phase


Topic = tuple[int, str | None, str | None]


def everything() -> Topic:
    """Every change of every run."""
    return (-1, None, None)


def of_roots() -> Topic:
    """The root action of every run."""
    return (-1, ROOT, None)


def of_run(run: int) -> Topic:
    """Every change in one run."""
    return (run, None, None)


def of_action(run: int, action: str) -> Topic:
    """One action."""
    return (run, action, None)


def of_children(run: int, parent: str) -> Topic:
    """The direct children of one action."""
    return (run, None, parent)


@dataclass(eq=False, slots=True)
class Watch:
    """What changed since it was last asked: a set, so that a slow reader costs no more than what exists."""

    _pending: set[Change] = field(default_factory=set)
    _lost: bool = False
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    async def next(self) -> set[Change] | None:
        """Wait until something changed; what did, each once. ``None``: anything may have, look at all of it again."""
        await self._woken.wait()
        self._woken.clear()
        pending, self._pending = self._pending, set()
        lost, self._lost = self._lost, False
        return None if lost else pending

    def tell(self, change: Change) -> None:
        self._pending.add(change)
        self._woken.set()

    def lose(self) -> None:
        self._lost = True
        self._woken.set()


@dataclass(eq=False, slots=True)
class Signal:
    """That something changed since it was last asked, and not what: for those who look at other things then."""

    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    async def next(self) -> None:
        """Wait until something changed."""
        await self._woken.wait()
        self._woken.clear()

    def tell(self, _change: Change) -> None:
        self._woken.set()

    def lose(self) -> None:
        self._woken.set()


class Changes:
    """Subscribe inside a ``with``, then read the rows: what is committed after that is told, or was read."""

    def __init__(self) -> None:
        self._watches: dict[Topic, set[Watch | Signal]] = {}

    @contextmanager
    def watch(self, topic: Topic) -> Iterator[Watch]:
        watch = Watch()
        with self._told(topic, watch):
            yield watch

    @contextmanager
    def signal(self, topic: Topic) -> Iterator[Signal]:
        signal = Signal()
        with self._told(topic, signal):
            yield signal

    @contextmanager
    def _told(self, topic: Topic, watch: Watch | Signal) -> Iterator[None]:
        self._watches.setdefault(topic, set()).add(watch)
        try:
            yield
        finally:
            watches = self._watches[topic]
            watches.discard(watch)
            if not watches:
                del self._watches[topic]

    def publish(self, changes: Iterable[Change]) -> None:
        """Tell every watch concerned. Called on the event loop, after the commit."""
        for change in changes:
            for topic in _topics(change):
                for watch in self._watches.get(topic, ()):
                    watch.tell(change)

    def lose(self) -> None:
        """What others changed is not known for some time: every watch is to look at its rows again."""
        for watches in self._watches.values():
            for watch in watches:
                watch.lose()


def _topics(change: Change) -> Iterator[Topic]:
    yield everything()
    yield of_run(change.run)
    yield of_action(change.run, change.action)
    yield of_children(change.run, change.parent)
    if change.action == ROOT:
        yield of_roots()
