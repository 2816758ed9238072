"""Settings: what each level says."""

from datetime import datetime

from alula.core.scope import Scope
from alula.core.setting import Record
from alula.storage import rows
from alula.storage.database import Row, Tx


def _record(row: Row) -> Record:
    return Record(Scope(row["domain"], row["project"]), row["body"], row["version"])


async def chain(tx: Tx, scope: Scope) -> list[Record]:
    """The records of a scope and of those it inherits from, broadest first; some may be missing."""
    found = await tx.all(
        """
        SELECT domain, project, version, body FROM settings
        WHERE domain IN ('', :domain) AND project IN ('', :project) ORDER BY domain, project
        """,
        {"domain": scope.domain, "project": scope.project},
    )
    return [_record(row) for row in found]


async def insert(tx: Tx, record: Record, now: datetime) -> bool:
    """Write the first record of a scope; whether there was none."""
    changed = await tx.execute(
        """
        INSERT INTO settings (domain, project, version, body, updated_at)
        VALUES (:domain, :project, :version, :body, :now) ON CONFLICT DO NOTHING
        """,
        _values(record, now),
    )
    return changed == 1


async def update(tx: Tx, record: Record, now: datetime) -> None:
    """Replace the record of a scope."""
    await tx.execute(
        """
        UPDATE settings SET version = :version, body = :body, updated_at = :now
        WHERE domain = :domain AND project = :project
        """,
        _values(record, now),
    )


async def delete_domain(tx: Tx, domain: str) -> None:
    """Remove what was said for a domain and for the projects in it."""
    await tx.execute("DELETE FROM settings WHERE domain = :domain", {"domain": domain})


def _values(record: Record, now: datetime) -> dict[str, object]:
    return {
        "domain": record.scope.domain,
        "project": record.scope.project,
        "version": record.version,
        "body": record.body,
        "now": rows.micros(now),
    }
