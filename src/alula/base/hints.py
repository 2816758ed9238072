"""What to look at next. A hint says "look", nothing else; the same one twice is one."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

Key = TypeVar("Key")

_LONGEST = 3600.0  # seconds


class Hints(Generic[Key]):
    """A queue of keys, each at most once, and never with two workers at the same time."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Key] = asyncio.Queue()
        self._queued: set[Key] = set()
        self._busy: set[Key] = set()

    def add(self, keys: Iterable[Key]) -> None:
        """Have keys looked at soon; one that is being looked at is looked at once more afterwards."""
        for key in keys:
            if key not in self._queued:
                self._queued.add(key)
                if key not in self._busy:
                    self._queue.put_nowait(key)

    def add_later(self, key: Key, seconds: float) -> asyncio.TimerHandle:
        """Have a key looked at after a while; at the latest after an hour, to see how long it still is."""
        return asyncio.get_running_loop().call_later(min(max(0.0, seconds), _LONGEST), self.add, [key])

    @property
    def depth(self) -> int:
        """How many wait to be looked at."""
        return self._queue.qsize()

    def busy(self) -> Iterable[Key]:
        """What workers look at right now."""
        return self._busy

    @asynccontextmanager
    async def next(self) -> AsyncIterator[Key]:
        """The next key; it is this worker's until the block is left."""
        key = await self._queue.get()
        self._queued.discard(key)
        self._busy.add(key)
        try:
            yield key
        finally:
            self._busy.discard(key)
            if key in self._queued:
                self._queue.put_nowait(key)
