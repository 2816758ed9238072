"""What this replica works on, when several share one database: the leases that it holds, and the loop that keeps them.

Losing a lease is noticed within a beat; until then, and after a process was stopped for minutes, the `fence` holds:
whoever writes for a run says so in the same transaction that its lease is still held.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Protocol, Self

from alula.base.clock import Steady
from alula.core.errors import DomainError, Unavailable
from alula.core.lease import BEATS, NOTHING, RUNS, Replica, lease_of, look, turn
from alula.storage import leases as store
from alula.storage.changes import Changes
from alula.storage.database import Database, Tx

_log = logging.getLogger(__name__)
_RETRY = 1.0  # seconds until it is tried again when the database could not be reached


class Holding(Protocol):
    """What a replica holds."""

    @property
    def shards(self) -> frozenset[int] | None:
        """The shards of runs that are this replica's; ``None``: all."""
        ...

    def has(self, run: int) -> bool:
        """Whether a run is this replica's to work on."""
        ...

    def holds(self, name: str) -> bool:
        """Whether a lease is this replica's."""
        ...

    @contextmanager
    def watch(self) -> Iterator[asyncio.Event]:
        """An event that is set whenever something was gained or lost; whoever watches clears it."""
        ...


class Alone:
    """A replica that shares its database with nobody holds everything."""

    shards: frozenset[int] | None = None

    def has(self, _: int) -> bool:
        return True

    def holds(self, _: str) -> bool:
        return True

    @contextmanager
    def watch(self) -> Iterator[asyncio.Event]:
        yield asyncio.Event()


ALONE = Alone()


class Leases:
    """The leases of one replica among several: a `Holding`. It is one of them for as long as it is entered."""

    def __init__(self, database: Database, changes: Changes, me: Replica, steady: Steady) -> None:
        """``me``: its id is made unique here."""
        self._database = database
        self._changes = changes
        self._name = me.id
        self._me = self._born(me)
        self._steady = steady
        self._seen = NOTHING
        self._held: frozenset[str] = frozenset()
        self._watches: set[asyncio.Event] = set()
        self._elsewhere: Mapping[str, str] = {}
        self.shards: frozenset[int] | None = frozenset()

    async def __aenter__(self) -> Self:
        await self._database.write(lambda tx: store.join(tx, self._me))
        return self

    async def __aexit__(self, *_: object) -> None:
        """Let others take over at once."""
        self._set(frozenset())
        with suppress(DomainError):  # they will in a term
            await self._database.write(lambda tx: store.leave(tx, self._me.id))

    def has(self, run: int) -> bool:
        return lease_of(run) in self._held

    def holds(self, name: str) -> bool:
        return name in self._held

    @contextmanager
    def watch(self) -> Iterator[asyncio.Event]:
        event = asyncio.Event()
        self._watches.add(event)
        try:
            yield event
        finally:
            self._watches.discard(event)

    def holder(self, name: str) -> str:
        """The URL of who holds a lease, as far as is known; empty if nobody does."""
        return self._elsewhere.get(name, "")

    async def fence(self, tx: Tx, run: int) -> None:
        """Refuse a write for a run that is not this replica's any more.

        Raises:
            Unavailable: another replica works on it, or will.
        """
        if not await store.holds(tx, self._me.id, lease_of(run)):
            raise Unavailable("the run is another replica's to work on")

    async def run(self, busy: Callable[[], Iterable[int]]) -> None:
        """Keep the leases until cancelled. ``busy`` says which runs have work under way.

        It is asked, and what is given up is dropped, without a turn for others in between: no work is begun meanwhile.
        """
        with self._changes.signal(store.MOVED) as told:
            while True:
                wait = self._me.term / BEATS
                try:
                    if await self._turn(busy):
                        continue
                except Unavailable as error:
                    _log.warning("leases: %s; trying again", error)
                    wait = min(wait, _RETRY)
                except Exception:
                    _log.exception("leases: a turn failed; trying again")
                    wait = min(wait, _RETRY)
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await told.next()

    async def _turn(self, busy: Callable[[], Iterable[int]]) -> bool:
        """Look, decide, act; whether to look at once what came of it."""
        replicas, held = await self._database.read(_everything)
        if all(replica.id != self._me.id for replica in replicas):
            await self._begin_anew()
            return True
        self._seen = look(replicas, self._seen, self._me, self._steady())
        urls = {replica.id: replica.url for replica in replicas}
        self._elsewhere = {name: urls.get(holder, "") for name, holder in held.items()}
        step = turn(self._me, replicas, held, self._seen, {lease_of(run) for run in busy()})
        mine = {name for name, holder in held.items() if holder == self._me.id}
        self._set(frozenset(mine.difference(step.give_up)))

        async def write(tx: Tx) -> None:
            if not await store.beat(tx, self._me.id):
                return
            for dead in step.bury:
                await store.bury(tx, dead)
            for name in step.claim:
                await store.claim(tx, self._me.id, name)
            for name in step.give_up:
                await store.give_up(tx, self._me.id, name)

        await self._database.write(write)
        for dead in step.bury:
            _log.warning("replica %s has been silent for %g s: others take over", dead.id, dead.term)
        return bool(step.bury or step.claim)

    async def _begin_anew(self) -> None:
        """Others took this replica for dead: what it held is theirs, and what it began they have begun again."""
        _log.warning("replica %s was silent for too long, and others took over: it begins anew", self._me.id)
        self._set(frozenset())
        self._me = self._born(self._me)
        self._seen = NOTHING
        await self._database.write(lambda tx: store.join(tx, self._me))

    def _born(self, me: Replica) -> Replica:
        return replace(me, id=f"{self._name}-{secrets.token_hex(4)}", beat=0)

    def _set(self, held: frozenset[str]) -> None:
        if held == self._held:
            return
        self._held = held
        self.shards = frozenset(int(n) for kind, _, n in (name.partition("/") for name in held) if kind == RUNS)
        for event in self._watches:
            event.set()


async def _everything(tx: Tx) -> tuple[list[Replica], Mapping[str, str]]:
    return await store.replicas(tx), await store.held(tx)


async def singly(holding: Holding, kind: str, work: Callable[[], Awaitable[None]]) -> None:
    """Have work done by one replica at a time: this one while it has the only lease of that kind."""
    name = f"{kind}/0"
    with holding.watch() as changed:
        while True:
            changed.clear()
            if holding.holds(name):
                await _until_lost(holding, name, work, changed)
            await changed.wait()


async def _until_lost(holding: Holding, name: str, work: Callable[[], Awaitable[None]], changed: asyncio.Event) -> None:
    working = asyncio.ensure_future(work())
    try:
        while holding.holds(name):
            changed.clear()
            waiting = asyncio.create_task(changed.wait())
            done, _ = await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if working in done:
                return await working
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
    changed.set()
    return None
