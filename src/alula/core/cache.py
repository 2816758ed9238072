"""Results kept for whoever asks the same again: what counts, what may be replaced, who works it out meanwhile."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from alula.core.errors import Invalid

KEY_LIMIT = 8 * 1024  # bytes
PLACE_LIMIT = 64  # characters of a project, and of a domain
HEARTBEAT = timedelta(seconds=10)  # the longest between two signs of life of who works a result out
GRACE = 3  # heartbeats that may be missed before another takes over
FOR_EVER = timedelta(0)  # as a maximal age
_LAST = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class CacheKey:
    """A question, and where its answers lie. The same question in another place has answers of its own."""

    project: str
    domain: str
    key: str

    @classmethod
    def unscoped(cls, key: str) -> "CacheKey":
        """A key of the first version of the cache service, which knows no projects."""
        return cls("", "", key)

    @classmethod
    def everywhere(cls, key: str) -> "CacheKey":
        """Whatever place an answer lies in (`CACHE_LOOKUP_SCOPE_GLOBAL`). To look up and to reserve, not to put."""
        return cls("", "*", key)


def check_key(key: CacheKey) -> None:
    """Refuse what can be no key. `Invalid`."""
    if not key.key:
        raise Invalid("key: must not be empty")
    if len(key.key.encode()) > KEY_LIMIT:
        raise Invalid(f"key: has more than {KEY_LIMIT} bytes; use a hash of it")
    if max(len(key.project), len(key.domain)) > PLACE_LIMIT:
        raise Invalid(f"identifier: projects and domains have at most {PLACE_LIMIT} characters")


@dataclass(frozen=True, slots=True)
class Entry:
    """A result: it lies at ``uri``, or is small and here (``literals``, serialised core.LiteralMap)."""

    uri: str
    literals: bytes | None
    metadata: bytes  # serialised cacheservice.Metadata without its times
    source: str  # the attempt that it came from: project/domain/run/action/attempt
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Offer:
    """A result to be kept. ``max_age``: how long one is good for, this one and the one it would replace."""

    uri: str = ""
    literals: bytes | None = None
    metadata: bytes = b""
    source: str = ""
    created_at: datetime | None = None
    max_age: timedelta = FOR_EVER
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class Reservation:
    """Who works a result out, and until when that is believed without another sign of life."""

    owner: str
    heartbeat: timedelta
    expires_at: datetime


def is_good(entry: Entry, now: datetime, max_age: timedelta = FOR_EVER) -> bool:
    """Whether a result still counts: for who kept it, and for who asks now."""
    if entry.expires_at is not None and now > entry.expires_at:
        return False
    return max_age == FOR_EVER or now - entry.updated_at <= max_age


def may_replace(known: Entry | None, offer: Offer, now: datetime) -> bool:
    """Whether an offer is taken: there is nothing yet, or nothing good, or it is to overwrite whatever there is."""
    return known is None or offer.overwrite or not is_good(known, now, offer.max_age)


def kept(known: Entry | None, offer: Offer, now: datetime) -> Entry:
    """An offer that is taken, as it is stored."""
    first = now if known is None else known.created_at
    return Entry(
        uri=offer.uri,
        literals=offer.literals,
        metadata=offer.metadata,
        source=offer.source,
        created_at=offer.created_at or first,
        updated_at=now,
        expires_at=_later(now, offer.max_age),
    )


def _later(now: datetime, age: timedelta) -> datetime | None:
    return now + age if FOR_EVER < age < _LAST - now else None


def reserve(known: Reservation | None, owner: str, asked: timedelta, now: datetime) -> Reservation:
    """The reservation that holds after ``owner`` has asked for it: another's, as long as that one is alive."""
    if known is not None and known.owner != owner and now < known.expires_at:
        return known
    heartbeat = asked if timedelta(0) < asked < HEARTBEAT else HEARTBEAT
    return Reservation(owner, heartbeat, now + GRACE * heartbeat)
