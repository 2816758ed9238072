"""What the cache has to do with an action: whether its result is there, and whether it is the one to work it out.

Of the actions that ask for the same at once and want to be one (`cache_serializable`), one holds the reservation. It is
alive as long as its row has not ended: no heartbeat can be missed, and its end frees the others in the same commit.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from alula.base.clock import Clock
from alula.control.cache import Cache
from alula.core.action import Action, CacheStatus, Event
from alula.core.cache import HEARTBEAT, CacheKey, Entry, Offer, Reservation
from alula.core.errors import AlreadyExists, Unavailable
from alula.core.phase import Phase
from alula.storage import actions as store
from alula.storage import cache as entries
from alula.storage.database import Database, Tx

_OWNER = "action"
_FOR_EVER = timedelta(days=36500)


@dataclass(frozen=True, slots=True)
class Hit:
    """The result is there."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class Miss:
    """The action has to run. ``status`` says why."""

    status: CacheStatus


@dataclass(frozen=True, slots=True)
class Busy:
    """Another action works it out."""

    owner: str


Claim = Hit | Miss | Busy


@dataclass(frozen=True, slots=True)
class Caching:
    """The verbs of the reconciler."""

    database: Database
    cache: Cache
    clock: Clock

    async def claim(self, action: Action) -> Claim:
        """Look the result up, or claim the right to work it out."""
        if action.overwrite_cache:
            return Miss(CacheStatus.SKIPPED)
        try:
            entry = await self.cache.lookup(_sought(action), timedelta(seconds=action.policy.max_age))
        except Unavailable:
            return Miss(CacheStatus.LOOKUP_FAILURE)
        if entry is not None:
            return Hit(entry)
        if not action.policy.serialize:
            return Miss(CacheStatus.MISS)
        return await self.database.write(lambda tx: _reserve(tx, action, self.clock()))

    async def waiting(self, action: Action) -> list[tuple[int, str]]:
        """The keys of those who asked for the same and have not ended."""
        return await self.database.read(lambda tx: store.asking_for(tx, action.cache_key))


def _sought(action: Action) -> CacheKey:
    return CacheKey.everywhere(action.cache_key) if action.cache_everywhere else _own(action)


def _own(action: Action) -> CacheKey:
    return CacheKey(action.id.run.project, action.id.run.domain, action.cache_key)


def _owner(action: Action) -> str:
    return f"{_OWNER}/{action.run_key}/{action.id.name}"


async def _reserve(tx: Tx, action: Action, now: datetime) -> Claim:
    key, owner = _sought(action), _owner(action)
    held = await entries.reserved(tx, key)
    if held is not None and held.owner != owner and await _alive(tx, held, now):
        return Busy(held.owner)
    await entries.hold(tx, key, Reservation(owner, HEARTBEAT, now + _FOR_EVER))
    return Miss(CacheStatus.MISS)


async def _alive(tx: Tx, held: Reservation, now: datetime) -> bool:
    kind, _, rest = held.owner.partition("/")
    run, _, name = rest.partition("/")
    if kind != _OWNER or not run.isdigit():
        return now < held.expires_at  # somebody outside, who says so by heartbeats
    row = await store.get(tx, int(run), name)
    return row is not None and not row.phase.terminal


async def keep(tx: Tx, action: Action, ended: Event, now: datetime) -> Event:
    """An action ends: keep its result, let go of its reservation; the event as it is to be recorded."""
    if not action.cache_key:
        return ended
    await entries.release(tx, _sought(action), _owner(action))
    if ended.phase is not Phase.SUCCEEDED or not ended.output_uri or ended.cache_status is CacheStatus.HIT:
        return ended
    offer = Offer(
        uri=action.output_uri,
        source=f"{action.id}/{action.attempt}",
        max_age=timedelta(seconds=action.policy.max_age),
        overwrite=action.overwrite_cache,
    )
    try:
        await entries.put(tx, _own(action), offer, now)
    except AlreadyExists:
        return ended  # another was first, and its result is as good
    return replace(ended, cache_status=CacheStatus.POPULATED)
