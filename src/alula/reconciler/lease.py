"""What this replica works on, when several share one database: the leases that it holds, and the loop that keeps them.

Losing a lease is noticed within a beat; until then, and after a process was stopped for minutes, the `fence` holds:
whoever writes for a run says so in the same transaction that its lease is still held.
"""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Protocol

from alula.core.errors import Unavailable
from alula.core.lease import BEATS, NOTHING, RUNS, SHARDS, Replica, Turn, lease_of, look, turn
from alula.storage import leases as store
from alula.storage.changes import Changes
from alula.storage.database import Database, Tx

_log = logging.getLogger(__name__)
_RETRY = 1.0  # seconds until it is tried again when the database could not be reached

Loop = Callable[[], Awaitable[None]]


class Holding(Protocol):
    """What a replica holds."""

    @property
    def shared(self) -> bool:
        """Whether there may be other replicas."""
        ...

    @property
    def shards(self) -> frozenset[int] | None:
        """The shards of runs that are this replica's; ``None``: all."""
        ...

    def has(self, run: int) -> bool:
        """Whether a run is this replica's to work on."""
        ...

    async def changed(self) -> None:
        """Wait until something was gained or lost."""
        ...


class Alone:
    """A replica that shares its database with nobody."""

    shared = False
    shards: frozenset[int] | None = None

    def has(self, _: int) -> bool:
        return True

    async def changed(self) -> None:
        await asyncio.Event().wait()


ALONE = Alone()


@dataclass(eq=False, slots=True)
class Leases:
    """The leases of one replica among several. ``steady`` is a clock that never goes back, in seconds.

    ``busy`` says which runs have work under way; it is asked, and what is given up is dropped, without a turn for
    others in between: so no work is begun in what is given up.
    """

    database: Database
    changes: Changes
    me: Replica
    steady: Callable[[], float]
    busy: Callable[[], Iterable[int]] = tuple
    held: frozenset[str] = frozenset()
    shards: frozenset[int] | None = frozenset()
    shared: bool = True

    def __post_init__(self) -> None:
        self._seen = NOTHING
        self._waiting: set[asyncio.Event] = set()
        self._born = ""

    def has(self, run: int) -> bool:
        return lease_of(run) in self.held

    async def changed(self) -> None:
        event = asyncio.Event()
        self._waiting.add(event)
        try:
            await event.wait()
        finally:
            self._waiting.discard(event)

    async def fence(self, tx: Tx, run: int) -> None:
        """Refuse a write for a run that is not this replica's any more.

        Raises:
            Unavailable: another replica works on it, or will.
        """
        if not await store.holds(tx, self.me.id, lease_of(run)):
            raise Unavailable("this replica has lost the lease of the run; another one works on it")
