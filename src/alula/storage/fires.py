"""Runs that triggers owe: ticks that are due, and versions of artifacts that were waited for.

Whoever claims them has a while to carry them out; then somebody else may look. That two never do the same is not the
claim's doing: a tick is taken by advancing its trigger from it, and a version by removing its row, with the run.
"""

from collections.abc import Sequence
from datetime import datetime

from alula.core.trigger import Fire, Trigger
from alula.storage import rows
from alula.storage.database import Tx
from alula.storage.triggers import due, trigger


async def claim_ticks(tx: Tx, now: datetime, until: datetime, limit: int) -> list[Trigger]:
    """The triggers that are due and that nobody works on, at most ``limit``; nobody else looks ``until`` then."""
    found = await tx.all(
        """
        UPDATE triggers SET look_at = :until WHERE key IN (
            SELECT key FROM triggers WHERE look_at IS NOT NULL AND look_at <= :now ORDER BY look_at, key LIMIT :limit
        ) RETURNING *
        """,
        {"now": rows.micros(now), "until": rows.micros(until), "limit": limit},
    )
    return [trigger(row) for row in found]


async def claim_versions(tx: Tx, now: datetime, until: datetime, limit: int) -> list[Fire]:
    """The runs owed to versions of artifacts, claimed likewise."""
    claimed = await tx.all(
        """
        UPDATE trigger_fires SET look_at = :until WHERE key IN (
            SELECT key FROM trigger_fires WHERE look_at <= :now ORDER BY look_at, key LIMIT :limit
        ) RETURNING *
        """,
        {"now": rows.micros(now), "until": rows.micros(until), "limit": limit},
    )
    fires = []
    for row in claimed:
        owner = await tx.one("SELECT * FROM triggers WHERE key = :key", {"key": row["trigger"]})
        assert owner is not None, "triggers are never removed"
        at = rows.time(row["at"])
        fires.append(Fire(trigger(owner), at, row["seed"], row["inputs"], row["key"], row["failures"]))
    return fires


async def look(tx: Tx) -> datetime | None:
    """When a scheduler has to look next; ``None``: not before it is told."""
    row = await tx.one(
        """
        SELECT min(at) AS at FROM (
            SELECT min(look_at) AS at FROM triggers WHERE look_at IS NOT NULL
            UNION ALL SELECT min(look_at) AS at FROM trigger_fires
        ) either
        """
    )
    return rows.time_or_none(row["at"]) if row else None


async def add(tx: Tx, fire: Fire, now: datetime) -> None:
    """Write down that a trigger owes a run; the same again is the same one."""
    await tx.execute(
        """
        INSERT INTO trigger_fires (trigger, seed, inputs, at, look_at, failures)
        VALUES (:trigger, :seed, :inputs, :at, :now, 0) ON CONFLICT (trigger, seed) DO NOTHING
        """,
        {
            "trigger": fire.trigger.key,
            "seed": fire.seed,
            "inputs": fire.inputs,
            "at": rows.micros(fire.at),
            "now": rows.micros(now),
        },
    )
    tx.touch([due()])


async def forget(tx: Tx, trigger: int) -> None:
    """A trigger owes nothing any more."""
    await tx.execute("DELETE FROM trigger_fires WHERE trigger = :trigger", {"trigger": trigger})


async def settle(tx: Tx, fires: Sequence[Fire], now: datetime) -> set[Fire]:
    """Take runs off what is owed: they are made in this transaction. Those that still were, by the same revision."""
    alike: dict[tuple[datetime | None, datetime | None, str], list[Fire]] = {}
    owed = set()
    for fire in fires:
        if fire.key is None:
            alike.setdefault((fire.trigger.next_at, fire.next_at, fire.note), []).append(fire)
        elif await _settle_version(tx, fire, now):
            owed.add(fire)
    for ticks in alike.values():
        owed |= await _settle_ticks(tx, ticks, now)
    return owed


async def _settle_ticks(tx: Tx, fires: Sequence[Fire], now: datetime) -> set[Fire]:
    """Advance triggers from one time to another, in one statement: thousands are due at the full hour."""
    mine = " OR ".join(f"(key = :k{i} AND revision = :r{i})" for i in range(len(fires)))
    values: dict[str, object] = {
        "now": rows.micros(now),
        "was": rows.micros_or_none(fires[0].trigger.next_at),
        "next_at": rows.micros_or_none(fires[0].next_at),
        "note": fires[0].note,
    }
    for i, fire in enumerate(fires):
        values |= {f"k{i}": fire.trigger.key, f"r{i}": fire.trigger.revision}
    found = await tx.all(
        f"""
        UPDATE triggers SET {_WELL}, next_at = :next_at, look_at = :next_at
        WHERE next_at = :was AND ({mine}) RETURNING key
        """,  # noqa: S608
        values,
    )
    keys = {row["key"] for row in found}
    return {fire for fire in fires if fire.trigger.key in keys}


async def _settle_version(tx: Tx, fire: Fire, now: datetime) -> bool:
    changed = await tx.execute(
        f"""
        UPDATE triggers SET {_WELL} WHERE key = :key AND revision = :revision
            AND EXISTS (SELECT 1 FROM trigger_fires f WHERE f.key = :fire)
        """,  # noqa: S608
        {
            "key": fire.trigger.key,
            "revision": fire.trigger.revision,
            "now": rows.micros(now),
            "note": "",
            "fire": fire.key,
        },
    )
    if changed:
        await tx.execute("DELETE FROM trigger_fires WHERE key = :fire", {"fire": fire.key})
    return changed == 1


_WELL = "fired_at = :now, failures = 0, failure = '', note = CASE WHEN :note = '' THEN note ELSE :note END"


async def failed(tx: Tx, fire: Fire, why: str, again: datetime) -> None:
    """A run could not be made: say why, and let it be tried again then."""
    values = {
        "key": fire.trigger.key,
        "revision": fire.trigger.revision,
        "why": why,
        "again": rows.micros(again),
    }
    said = "UPDATE triggers SET failures = failures + 1, failure = :why"
    mine = "WHERE key = :key AND revision = :revision"
    if fire.key is None:
        values["was"] = rows.micros_or_none(fire.trigger.next_at)
        await tx.execute(f"{said}, look_at = :again {mine} AND next_at = :was", values)
        return
    await tx.execute(f"{said} {mine}", {name: values[name] for name in ("key", "revision", "why")})
    await tx.execute(
        "UPDATE trigger_fires SET failures = failures + 1, look_at = :again WHERE key = :fire",
        {"again": values["again"], "fire": fire.key},
    )


async def give_up(tx: Tx, fire: Fire, note: str) -> None:
    """A run that is owed will not be made."""
    await tx.execute("DELETE FROM trigger_fires WHERE key = :fire", {"fire": fire.key})
    await tx.execute("UPDATE triggers SET note = :note WHERE key = :key", {"note": note, "key": fire.trigger.key})
