"""What is to be worked on: each key once, by one worker at a time, at once or at a time to come.

Mirrors add keys, workers take them. A key that is added while it is worked on is worked on once more afterwards, so
nothing that happens in between is missed.
"""

import asyncio
import heapq
from collections.abc import Callable, Hashable
from itertools import count
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

SHORTEST, LONGEST = 0.05, 60.0  # seconds between a failure and the next try: the first time, at most


class Queue(Generic[K]):
    """``steady`` tells seconds and is never set; ``dice`` gives numbers from 0 to 1."""

    def __init__(self, steady: Callable[[], float], dice: Callable[[], float]) -> None:
        self._steady, self._dice = steady, dice
        self._ready: asyncio.Queue[K] = asyncio.Queue()
        self._queued: set[K] = set()  # what is in _ready
        self._working: set[K] = set()
        self._again: set[K] = set()  # added while it was worked on
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []  # by time; entries that _due does not know any more are ignored
        self._order = count()
        self._failures: dict[K, int] = {}
        self._alarm: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """How many are to be worked on now."""
        return len(self._queued) + len(self._again)

    @property
    def waiting(self) -> int:
        """How many are to be worked on later."""
        return len(self._due)

    @property
    def working(self) -> int:
        """How many are worked on."""
        return len(self._working)

    def add(self, key: K) -> None:
        """To be worked on as soon as possible, whatever was said before."""
        self._due.pop(key, None)
        if key in self._working:
            self._again.add(key)
        elif key not in self._queued:
            self._queued.add(key)
            self._ready.put_nowait(key)

    def later(self, key: K, seconds: float) -> None:
        """To be worked on then, if not before: of several times the earliest holds."""
        due = self._steady() + seconds
        if key in self._queued or key in self._again or self._due.get(key, due + 1) <= due:
            return
        self._due[key] = due
        heapq.heappush(self._heap, (due, next(self._order), key))
        self._set_alarm()

    def fail(self, key: K, after: float = 0.0) -> float:
        """It went wrong: later again, each time twice as late. Returns the seconds until then.

        ``after``: seconds that the one who refused has asked to be left alone for; more than a minute is not believed.
        """
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        longest = min(LONGEST, SHORTEST * 2.0 ** min(failures, 20))
        jitter = 0.5 + self._dice() / 2
        seconds = max(longest * jitter, min(LONGEST, after) * (0.5 + jitter))
        self.later(key, seconds)
        return seconds

    def succeed(self, key: K) -> None:
        """It went well: the next failure is the first one."""
        self._failures.pop(key, None)

    async def take(self) -> K:
        """The next key, for whoever calls this alone, until they say `done`."""
        key = await self._ready.get()
        self._queued.discard(key)
        self._working.add(key)
        return key

    def done(self, key: K) -> None:
        self._working.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def ring(self) -> None:
        """Add what is due. A timer of the event loop calls this in time."""
        now = self._steady()
        while self._heap and (self._heap[0][0] <= now or self._outdated(self._heap[0])):
            entry = heapq.heappop(self._heap)
            if not self._outdated(entry):
                self.add(entry[2])
        self._set_alarm()

    def _outdated(self, entry: tuple[float, int, K]) -> bool:
        return self._due.get(entry[2]) != entry[0]

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self._heap:
            seconds = max(0.0, self._heap[0][0] - self._steady())
            self._alarm = asyncio.get_running_loop().call_later(seconds, self.ring)
