"""Domains."""

from alula.core.domain import Domain
from alula.storage import rows
from alula.storage.database import Row, Tx


def _domain(row: Row) -> Domain:
    return Domain(row["name"], row["title"], rows.time(row["created_at"]))


async def every(tx: Tx) -> list[Domain]:
    """All of them, the oldest first."""
    return [_domain(row) for row in await tx.all("SELECT * FROM domains ORDER BY created_at, name")]


async def find(tx: Tx, name: str) -> Domain | None:
    row = await tx.one("SELECT * FROM domains WHERE name = :name", {"name": name})
    return _domain(row) if row else None


async def insert(tx: Tx, domain: Domain) -> bool:
    """Write a new domain; whether there was none of that name."""
    changed = await tx.execute(
        "INSERT INTO domains (name, title, created_at) VALUES (:name, :title, :now) ON CONFLICT DO NOTHING",
        {"name": domain.name, "title": domain.title, "now": rows.micros(domain.created_at)},
    )
    return changed == 1


async def rename(tx: Tx, name: str, title: str) -> None:
    """Give a domain another title."""
    await tx.execute("UPDATE domains SET title = :title WHERE name = :name", {"name": name, "title": title})


async def delete(tx: Tx, name: str) -> None:
    await tx.execute("DELETE FROM domains WHERE name = :name", {"name": name})


async def used(tx: Tx, name: str) -> bool:
    """Whether there are runs or tasks in a domain: a look into the index of each, project by project."""
    row = await tx.one(
        """
        SELECT 1 FROM projects p WHERE
            EXISTS (SELECT 1 FROM runs r WHERE r.project = p.name AND r.domain = :name)
            OR EXISTS (SELECT 1 FROM tasks t WHERE t.project = p.name AND t.domain = :name)
        LIMIT 1
        """,
        {"name": name},
    )
    return row is not None
