"""Cached results, and the reservations of those who work one out."""

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta

from alula.core import cache as core
from alula.core.cache import FOR_EVER, CacheKey, Entry, Offer, Reservation
from alula.core.errors import AlreadyExists
from alula.storage import rows
from alula.storage.database import Row, Tx

_PLACES = 20  # places that hold an answer to one question: how many of them are looked at, newest first
_MICROSECOND = timedelta(microseconds=1)
_THIS = "digest = :digest AND project = :project AND domain = :domain"


def _key(key: CacheKey) -> dict[str, object]:
    return {"digest": _digest(key.key), "project": key.project, "domain": key.domain}


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _entry(row: Row) -> Entry:
    return Entry(
        uri=row["uri"],
        literals=row["literals"],
        metadata=row["metadata"],
        source=row["source"],
        created_at=rows.time(row["created_at"]),
        updated_at=rows.time(row["updated_at"]),
        expires_at=rows.time_or_none(row["expires_at"]),
    )


async def lookup(tx: Tx, key: CacheKey, now: datetime, max_age: timedelta = FOR_EVER) -> Entry | None:
    """A result that is still good; of several places, the newest one."""
    if key == CacheKey.everywhere(key.key):
        sql = (
            "SELECT * FROM cache_entries WHERE digest = :digest AND project <> '' ORDER BY updated_at DESC LIMIT :most"
        )
        found = [_entry(row) for row in await tx.all(sql, {"digest": _digest(key.key), "most": _PLACES})]
    else:
        known = await find(tx, key)
        found = [] if known is None else [known]
    return next((entry for entry in found if core.is_good(entry, now, max_age)), None)


async def find(tx: Tx, key: CacheKey) -> Entry | None:
    """What is kept under a key in its place, good or not."""
    row = await tx.one(f"SELECT * FROM cache_entries WHERE {_THIS}", _key(key))  # noqa: S608
    return _entry(row) if row else None


async def put(tx: Tx, key: CacheKey, offer: Offer, now: datetime) -> Entry | None:
    """Keep a result; the one that it replaced.

    Raises:
        AlreadyExists: there is one that is still good, and the offer is not to overwrite it.
    """
    known = await find(tx, key)
    if not core.may_replace(known, offer, now):
        raise AlreadyExists("key: a result is kept under it that is still good; ask for overwrite to replace it")
    await _write(tx, _key(key) | {"key": key.key}, core.kept(known, offer, now))
    return known


async def _write(tx: Tx, key: Mapping[str, object], entry: Entry) -> None:
    await tx.execute(
        """
        INSERT INTO cache_entries VALUES (:digest, :project, :domain, :key, :uri, :literals, :metadata, :source,
            :created_at, :updated_at, :expires_at)
        ON CONFLICT (digest, project, domain) DO UPDATE SET uri = excluded.uri, literals = excluded.literals,
            metadata = excluded.metadata, source = excluded.source, created_at = excluded.created_at,
            updated_at = excluded.updated_at, expires_at = excluded.expires_at
        """,
        {
            **key,
            "uri": entry.uri,
            "literals": entry.literals,
            "metadata": entry.metadata,
            "source": entry.source,
            "created_at": rows.micros(entry.created_at),
            "updated_at": rows.micros(entry.updated_at),
            "expires_at": rows.micros_or_none(entry.expires_at),
        },
    )


async def remove(tx: Tx, key: CacheKey) -> bool:
    """Forget a result; whether there was one."""
    return bool(await tx.execute(f"DELETE FROM cache_entries WHERE {_THIS}", _key(key)))  # noqa: S608


async def reserve(tx: Tx, key: CacheKey, owner: str, heartbeat: timedelta, now: datetime) -> Reservation:
    """The reservation that holds now: ``owner``'s, made or extended, or that of another who is alive."""
    known = await reserved(tx, key)
    held = core.reserve(known, owner, heartbeat, now)
    if held is not known:
        await hold(tx, key, held)
    return held


async def reserved(tx: Tx, key: CacheKey) -> Reservation | None:
    """The reservation of a key, its time over or not."""
    row = await tx.one(f"SELECT * FROM cache_reservations WHERE {_THIS}", _key(key))  # noqa: S608
    if row is None:
        return None
    return Reservation(row["owner"], row["heartbeat"] * _MICROSECOND, rows.time(row["expires_at"]))


async def hold(tx: Tx, key: CacheKey, held: Reservation) -> None:
    """Write a reservation, whoever had it before."""
    await tx.execute(
        """
        INSERT INTO cache_reservations VALUES (:digest, :project, :domain, :owner, :heartbeat, :expires_at)
        ON CONFLICT (digest, project, domain) DO UPDATE SET owner = excluded.owner,
            heartbeat = excluded.heartbeat, expires_at = excluded.expires_at
        """,
        {
            **_key(key),
            "owner": held.owner,
            "heartbeat": held.heartbeat // _MICROSECOND,
            "expires_at": rows.micros(held.expires_at),
        },
    )


async def release(tx: Tx, key: CacheKey, owner: str) -> bool:
    """Give a reservation up; whether ``owner`` had it."""
    sql = f"DELETE FROM cache_reservations WHERE {_THIS} AND owner = :owner"  # noqa: S608
    return bool(await tx.execute(sql, {**_key(key), "owner": owner}))


async def prune(tx: Tx, now: datetime, limit: int) -> int:
    """Forget reservations and results whose time is over, at most ``limit`` of each; how many."""
    gone = 0
    for table in ("cache_reservations", "cache_entries"):
        gone += await tx.execute(
            f"""
            DELETE FROM {table} WHERE (digest, project, domain) IN (
                SELECT digest, project, domain FROM {table}
                WHERE expires_at IS NOT NULL AND expires_at < :now ORDER BY expires_at LIMIT :limit
            )
            """,  # noqa: S608
            {"now": rows.micros(now), "limit": limit},
        )
    return gone
