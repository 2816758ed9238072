"""Replicas and the leases they hold. A lease that nobody holds has no row."""

from collections.abc import Mapping

from alula.core.lease import Replica
from alula.core.phase import Phase
from alula.storage.changes import Change, Topic, of_action
from alula.storage.database import Tx

_MOVED = Change(0, "leases", "", Phase.SUCCEEDED)
MOVED: Topic = of_action(_MOVED.run, _MOVED.action)
"""A replica came or left, or a lease is free: others look at once."""


async def replicas(tx: Tx) -> list[Replica]:
    """Every replica that has not left and was not buried."""
    found = await tx.all("SELECT id, beat, term, kinds, url FROM replicas ORDER BY id")
    return [
        Replica(row["id"], row["beat"], row["term"] / 1_000_000, tuple(row["kinds"].split()), row["url"])
        for row in found
    ]


async def held(tx: Tx) -> Mapping[str, str]:
    """Who holds what."""
    return {row["name"]: row["holder"] for row in await tx.all("SELECT name, holder FROM leases ORDER BY name")}


async def holds(tx: Tx, replica: str, name: str) -> bool:
    """Whether a replica holds a lease."""
    row = await tx.one("SELECT holder FROM leases WHERE name = :name", {"name": name})
    return row is not None and row["holder"] == replica


async def join(tx: Tx, replica: Replica) -> None:
    """There is a new replica."""
    await tx.execute(
        "INSERT INTO replicas VALUES (:id, :beat, :term, :kinds, :url)",
        {
            "id": replica.id,
            "beat": replica.beat,
            "term": int(replica.term * 1_000_000),
            "kinds": " ".join(replica.kinds),
            "url": replica.url,
        },
    )
    tx.touch([_MOVED])


async def beat(tx: Tx, replica: str) -> bool:
    """Say that a replica lives; ``False``: it was buried, and holds nothing any more."""
    return await tx.execute("UPDATE replicas SET beat = beat + 1 WHERE id = :id", {"id": replica}) == 1


async def bury(tx: Tx, dead: Replica) -> None:
    """Take everything from a replica, unless it gives a sign of life."""
    values = {"id": dead.id, "beat": dead.beat}
    row = await tx.one("SELECT 1 AS one FROM replicas WHERE id = :id AND beat = :beat", values)
    if row is not None:
        await leave(tx, dead.id)


async def leave(tx: Tx, replica: str) -> None:
    """A replica is no more, and holds nothing."""
    await tx.execute("DELETE FROM leases WHERE holder = :id", {"id": replica})
    await tx.execute("DELETE FROM replicas WHERE id = :id", {"id": replica})
    tx.touch([_MOVED])


async def claim(tx: Tx, replica: str, name: str) -> bool:
    """Take a lease that nobody holds; whether that was so."""
    values = {"name": name, "holder": replica}
    return await tx.execute("INSERT INTO leases VALUES (:name, :holder) ON CONFLICT DO NOTHING", values) == 1


async def give_up(tx: Tx, replica: str, name: str) -> None:
    """Let others have a lease."""
    values = {"name": name, "holder": replica}
    await tx.execute("DELETE FROM leases WHERE name = :name AND holder = :holder", values)
    tx.touch([_MOVED])
