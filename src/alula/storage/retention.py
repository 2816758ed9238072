"""Rows of runs that go, a few at a time."""

from datetime import datetime

from alula.core.phase import TERMINAL
from alula.core.retention import Removed
from alula.core.run import Run
from alula.storage import rows
from alula.storage.database import Tx
from alula.storage.runs import read

_TERMINAL = ", ".join(str(int(phase)) for phase in sorted(TERMINAL))


async def mark(tx: Tx, run: int) -> None:
    """From now on the run is found no more."""
    await tx.execute("UPDATE runs SET deleting = 1 WHERE key = :run", {"run": run})


async def marked(tx: Tx, limit: int) -> list[Run]:
    """Runs that are being deleted."""
    found = await tx.all("SELECT * FROM runs WHERE deleting = 1 ORDER BY key LIMIT :limit", {"limit": limit})
    return [read(row) for row in found]


async def ended_before(tx: Tx, project: str, at: datetime, limit: int) -> list[Run]:
    """The oldest runs of a project that had ended by a time, and left no artifact behind."""
    found = await tx.all(
        f"""
        SELECT r.* FROM runs r JOIN actions a ON a.run = r.key AND a.parent IS NULL
        WHERE r.project = :project AND r.deleting = 0 AND r.created_at < :at
            AND a.phase IN ({_TERMINAL}) AND a.ended_at < :at
            AND NOT EXISTS (SELECT 1 FROM artifacts x
                WHERE x.project = r.project AND x.domain = r.domain AND x.run = r.name)
        ORDER BY r.created_at LIMIT :limit
        """,  # noqa: S608
        {"project": project, "at": rows.micros(at), "limit": limit},
    )
    return [read(row) for row in found]


async def left_artifacts(tx: Tx, run: Run) -> bool:
    """Whether there are artifacts that a run has made."""
    row = await tx.one(
        "SELECT 1 AS one FROM artifacts WHERE project = :project AND domain = :domain AND run = :run LIMIT 1",
        {"project": run.id.project, "domain": run.id.domain, "run": run.id.name},
    )
    return row is not None


async def attempts(tx: Tx, run: int, after: str, limit: int) -> list[tuple[str, int]]:
    """The names of a run's actions and how often each was tried, behind a name."""
    found = await tx.all(
        "SELECT name, attempt FROM actions WHERE run = :run AND name > :after ORDER BY name LIMIT :limit",
        {"run": run, "after": after, "limit": limit},
    )
    return [(row["name"], row["attempt"]) for row in found]


async def taken_over(tx: Tx, run: int, base: str) -> list[str]:
    """The places below a folder whose outputs actions of other runs have taken over."""
    found = await tx.all(
        """
        SELECT DISTINCT output_uri FROM actions
        WHERE (cache_status = 2 OR recovered_from <> '') AND output_uri >= :low AND output_uri < :high AND run <> :run
        """,
        {"run": run, "low": f"{base}/", "high": f"{base}0"},  # "0" is what follows "/"
    )
    return [row["output_uri"] for row in found]


async def forget_cached(tx: Tx, source: str) -> int:
    """Forget the cached results that came from a run, given as project/domain/run."""
    return await tx.execute(
        "DELETE FROM cache_entries WHERE source >= :low AND source < :high",
        {"low": f"{source}/", "high": f"{source}0"},
    )


async def remove_some(tx: Tx, run: int, limit: int) -> Removed:
    """Remove some rows of a run, the run's own last; how many. Nothing: there is none left."""
    events = await tx.execute(
        """
        DELETE FROM events WHERE run = :run AND seq IN (
            SELECT seq FROM events WHERE run = :run ORDER BY seq LIMIT :limit)
        """,
        {"run": run, "limit": limit},
    )
    if events:
        return Removed(events=events)
    actions = await tx.execute(
        """
        DELETE FROM actions WHERE run = :run AND name IN (
            SELECT name FROM actions WHERE run = :run ORDER BY name LIMIT :limit)
        """,
        {"run": run, "limit": limit},
    )
    if actions:
        return Removed(actions=actions)
    for rest in (
        "DELETE FROM action_states WHERE run = :run",
        "DELETE FROM deliveries WHERE notice IN (SELECT key FROM outbox WHERE run = :run)",
        "DELETE FROM outbox WHERE run = :run",
    ):
        await tx.execute(rest, {"run": run})
    await tx.execute("UPDATE runs SET recovers = NULL WHERE recovers = :run", {"run": run})
    return Removed(runs=await tx.execute("DELETE FROM runs WHERE key = :run", {"run": run}))
