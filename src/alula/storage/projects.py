"""Projects. Their domains are the same for all of them."""

import json
from datetime import datetime

from alula.core.pages import Order, Page
from alula.core.project import ARCHIVED, Project
from alula.storage import rows
from alula.storage.database import Row, Tx
from alula.storage.listing import Column, Listing


def _project(row: Row) -> Project:
    return Project(row["name"], row["title"], row["description"], json.loads(row["labels"]), row["state"])


async def find(tx: Tx, name: str) -> Project | None:
    """A project by its identifier."""
    row = await tx.one("SELECT * FROM projects WHERE name = :name", {"name": name})
    return _project(row) if row else None


async def insert(tx: Tx, project: Project, now: datetime) -> bool:
    """Write a new project; whether there was none of that name."""
    changed = await tx.execute(
        """
        INSERT INTO projects VALUES (:name, :title, :description, :labels, :state, :now, :now) ON CONFLICT DO NOTHING
        """,
        _values(project, now),
    )
    return changed == 1


async def update(tx: Tx, project: Project, now: datetime) -> bool:
    """Replace a project; whether there was one."""
    changed = await tx.execute(
        """
        UPDATE projects SET title = :title, description = :description, labels = :labels, state = :state,
            updated_at = :now WHERE name = :name
        """,
        _values(project, now),
    )
    return changed == 1


def _values(project: Project, now: datetime) -> dict[str, object]:
    return {
        "name": project.name,
        "title": project.title,
        "description": project.description,
        "labels": json.dumps(dict(project.labels)),
        "state": project.state,
        "now": rows.micros(now),
    }


_LISTING = Listing(
    select="SELECT * /*keys*/ FROM projects",
    columns={
        "identifier": Column("name"),
        "name": Column("title"),
        "description": Column("description"),
        "state": Column("state", int),
        "created_at": Column("created_at", int),
        "updated_at": Column("updated_at", int),
    },
    unique=("identifier",),
    default=(Order("created_at", descending=False),),
)


async def page(tx: Tx, asked: Page) -> tuple[list[Project], str]:
    """One page of projects and the token of the next. Archived ones only if a filter asks about the state."""
    scope = "" if any(where.field == "state" for where in asked.where) else f"state <> {ARCHIVED}"
    sql, values, keys = _LISTING.query(asked, scope, {})
    found, token = keys.cut(await tx.all(sql, values))
    return [_project(row) for row in found], token
