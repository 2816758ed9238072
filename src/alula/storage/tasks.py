"""Deployed tasks: versions of a name, each with its spec."""

from alula.core.ids import TaskId
from alula.core.pages import Order, Page
from alula.core.task import Task, TaskScope
from alula.storage import rows
from alula.storage.database import Row, Tx
from alula.storage.listing import Column, Listing


def _task(row: Row) -> Task:
    return Task(
        id=TaskId(row["project"], row["domain"], row["name"], row["version"]),
        org=row["org"],
        short_name=row["short_name"],
        environment=row["environment"],
        description=row["description"],
        entrypoint=bool(row["entrypoint"]),
        spec=row["spec"],
        deployed_at=rows.time(row["updated_at"]),
    )


async def find(tx: Tx, task: TaskId) -> Task | None:
    """One version of a task."""
    row = await tx.one(
        "SELECT * FROM tasks WHERE project = :project AND domain = :domain AND name = :name AND version = :version",
        {"project": task.project, "domain": task.domain, "name": task.name, "version": task.version},
    )
    return _task(row) if row else None


async def put(tx: Tx, task: Task) -> None:
    """Write one version of a task; deployed again, it keeps its first time and takes the new spec."""
    await tx.execute(
        """
        INSERT INTO tasks VALUES (:project, :domain, :name, :version, :org, :short_name, :environment, :description,
            :entrypoint, :spec, :at, :at)
        ON CONFLICT DO UPDATE SET org = :org, short_name = :short_name, environment = :environment,
            description = :description, entrypoint = :entrypoint, spec = :spec, updated_at = :at
        """,
        {
            "project": task.id.project,
            "domain": task.id.domain,
            "name": task.id.name,
            "version": task.id.version,
            "org": task.org,
            "short_name": task.short_name,
            "environment": task.environment,
            "description": task.description,
            "entrypoint": int(task.entrypoint),
            "spec": task.spec,
            "at": rows.micros(task.deployed_at),
        },
    )


_LISTING = Listing(
    select="SELECT t.* /*keys*/ FROM tasks t",
    columns={
        "project": Column("t.project"),
        "domain": Column("t.domain"),
        "name": Column("t.name"),
        "version": Column("t.version"),
        "environment": Column("t.environment"),
        "function_name": Column("t.short_name"),
        "short_description": Column("t.description"),
        "created_at": Column("t.created_at", int),
        "updated_at": Column("t.updated_at", int),
    },
    unique=("created_at", "project", "domain", "name", "version"),
    default=(Order("created_at", descending=True),),
)
# The latest version is the one first deployed last; the version itself breaks a tie.
_LATEST = """NOT EXISTS (SELECT 1 FROM tasks n WHERE n.project = t.project AND n.domain = t.domain AND n.name = t.name
    AND (n.created_at, n.version) > (t.created_at, t.version))"""


def _conditions(scope: TaskScope) -> tuple[list[str], dict[str, object]]:
    named = {"project": scope.project, "domain": scope.domain, "name": scope.name}
    values: dict[str, object] = {f"s_{field}": value for field, value in named.items() if value}
    conditions = [f"t.{field} = :s_{field}" for field, value in named.items() if value]
    if scope.entrypoint is not None:
        conditions.append("t.entrypoint = :s_entrypoint")
        values["s_entrypoint"] = int(scope.entrypoint)
    return conditions, values


async def page_of_latest(tx: Tx, scope: TaskScope, asked: Page) -> tuple[list[Task], str]:
    """One page of tasks, each in its latest version, and the token of the next."""
    conditions, values = _conditions(scope)
    sql, values, keys = _LISTING.query(asked, " AND ".join([*conditions, _LATEST]), values)
    found, token = keys.cut(await tx.all(sql, values))
    return [_task(row) for row in found], token


async def page_of_versions(tx: Tx, scope: TaskScope, asked: Page) -> tuple[list[Task], str]:
    """One page of versions and the token of the next."""
    conditions, values = _conditions(scope)
    sql, values, keys = _LISTING.query(asked, " AND ".join(conditions), values)
    found, token = keys.cut(await tx.all(sql, values))
    return [_task(row) for row in found], token


async def count(tx: Tx, scope: TaskScope) -> int:
    """How many tasks there are in a scope, each name once."""
    conditions, values = _conditions(scope)
    row = await tx.one(f"SELECT count(*) AS n FROM tasks t WHERE {' AND '.join([*conditions, _LATEST])}", values)  # noqa: S608
    assert row is not None
    total: int = row["n"]
    return total
