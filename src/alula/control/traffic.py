"""Requests on their way to apps: who waits for one to start, and which replica takes the next."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from alula.core.app import Load
from alula.core.errors import Unavailable


@dataclass(eq=False, slots=True)
class Backend:
    """A replica that takes requests."""

    name: str
    host: str
    port: int
    open: int = 0  # requests under way
    _idle: asyncio.Event = field(default_factory=asyncio.Event)

    async def drained(self, seconds: float) -> None:
        """Return once no request is under way, or the time is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.open:
                    self._idle.clear()
                    await self._idle.wait()

    def begin(self) -> None:
        self.open += 1

    def end(self) -> None:
        self.open -= 1
        self._idle.set()


@dataclass(eq=False, slots=True)
class _Door:
    """One app's requests."""

    backends: list[Backend] = field(default_factory=list)
    room: int = 0  # requests at once that need no more replicas
    trouble: str = ""  # why nobody is going to answer
    open: int = 0
    peak: int = 0
    arrived: int = 0
    looked_at: float = 0.0
    last: float = float("-inf")  # when the last request ended
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class Traffic:
    """What the proxy and the loop that serves apps know of each other. Lives in one event loop."""

    def __init__(self) -> None:
        self._doors: dict[int, _Door] = {}
        self._needy: dict[int, None] = {}
        self._need = asyncio.Event()

    # For the loop

    async def needs(self) -> AsyncIterator[int]:
        """Apps worth looking at, because of what is asked of them. For one consumer."""
        while True:
            await self._need.wait()
            self._need.clear()
            needy, self._needy = self._needy, {}
            for key in needy:
                yield key

    def offer(self, key: int, backends: Sequence[Backend], *, room: int = 0, trouble: str = "") -> None:
        """From now on these take an app's requests; with none, ``trouble`` says why it is no use to wait."""
        door = self._door(key)
        if set(door.backends) != set(backends):
            door.backends = list(backends)
        door.room, door.trouble = room, trouble
        door.changed.set()
        door.changed = asyncio.Event()

    def load(self, key: int) -> tuple[Load, float]:
        """What was asked of an app since this was last called, and when it was last busy, in the loop's seconds."""
        door, now = self._door(key), _now()
        rate = door.arrived / max(now - door.looked_at, 1.0)
        load = Load(max(door.peak, door.open), rate)
        door.looked_at, door.arrived, door.peak = now, 0, door.open
        return load, now if door.open else door.last

    def forget(self, key: int) -> None:
        """The app is gone."""
        self.offer(key, [], trouble="the app was deleted")
        if not self._doors[key].open:
            del self._doors[key]

    # For the proxy

    @asynccontextmanager
    async def use(self, key: int, deadline: float) -> AsyncIterator[Backend]:
        """A replica for one request; an app that has none is started. ``deadline``: in the loop's seconds.

        Raises:
            Unavailable: the app is stopped or does not start; the message says why.
            TimeoutError: none was ready in time.
        """
        door = self._door(key)
        door.open += 1
        door.arrived += 1
        door.peak = max(door.peak, door.open)
        if door.open > door.room:
            self._tell(key)
        try:
            backend = await self._next(door, deadline)
            backend.begin()
            try:
                yield backend
            finally:
                backend.end()
        finally:
            door.open -= 1
            door.last = _now()

    def doubt(self, key: int, backend: Backend) -> None:
        """A replica did not take a request: nobody else gets it until it has been looked at."""
        door = self._door(key)
        with suppress(ValueError):
            door.backends.remove(backend)
        self._tell(key)

    async def _next(self, door: _Door, deadline: float) -> Backend:
        """The one with the fewest requests under way; of several, the one that has waited longest."""
        while not door.backends:
            if door.trouble:
                raise Unavailable(door.trouble)
            async with asyncio.timeout_at(deadline):
                await door.changed.wait()
        backend = min(door.backends, key=lambda one: one.open)
        door.backends.remove(backend)
        door.backends.append(backend)
        return backend

    def _door(self, key: int) -> _Door:
        return self._doors.setdefault(key, _Door(looked_at=_now()))

    def _tell(self, key: int) -> None:
        self._needy[key] = None
        self._need.set()


def _now() -> float:
    return asyncio.get_running_loop().time()
