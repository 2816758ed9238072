"""Deployed tasks: versions of a name, each with its spec."""

from alula.core.ids import RunId, TaskId
from alula.core.pages import Order, Page, Where
from alula.core.phase import Phase
from alula.core.task import LatestRun, Task, TaskScope
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
        deployed_by=row["deployed_by"],
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
            :entrypoint, :spec, :at, :at, :deployed_by)
        ON CONFLICT (project, domain, name, version) DO UPDATE SET org = :org, short_name = :short_name,
            environment = :environment, description = :description, entrypoint = :entrypoint, spec = :spec,
            updated_at = :at, deployed_by = :deployed_by
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
            "deployed_by": task.deployed_by,
        },
    )


_OWN = """
    FROM triggers g WHERE g.project = t.project AND g.domain = t.domain AND g.task = t.name AND g.deleted_at IS NULL
"""
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
        "deployed_by": Column("t.deployed_by"),
        "trigger_name": Column(f"coalesce((SELECT min(g.name) {_OWN}), '')"),
        "total_triggers": Column(f"(SELECT count(*) {_OWN})", int),
        "active_triggers": Column(f"(SELECT count(*) {_OWN} AND g.active = 1)", int),
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
    named = {"project": scope.project, "domain": scope.domain, "name": scope.name, "deployed_by": scope.deployed_by}
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


async def count(tx: Tx, scope: TaskScope, where: tuple[Where, ...] = ()) -> int:
    """How many tasks there are in a scope, each name once, of which the latest version meets some conditions."""
    conditions, values = _conditions(scope)
    clauses = _LISTING.clauses(Page(where=where), values)
    wanted = " AND ".join(f"({condition})" for condition in [*conditions, _LATEST, *clauses.conditions])
    row = await tx.one(f"SELECT count(*) AS n FROM tasks t WHERE {wanted}", clauses.values)  # noqa: S608
    assert row is not None
    total: int = row["n"]
    return total


_OF_TASK = "task_project = :project AND task_domain = :domain AND task_name = :name"
_RUN = f"SELECT project, domain, name, created_at, phase, task_name FROM runs WHERE hosted = 1 AND {_OF_TASK}"  # noqa: S608
_NEWEST = "ORDER BY created_at DESC LIMIT 1"
# Each phase has its own stretch of an index.
_BY_PHASE = " UNION ALL ".join(
    f"SELECT * FROM ({_RUN} AND phase = {phase} {_NEWEST}) s{phase}"  # noqa: S608
    for phase in map(int, Phase)
)
_LATEST_OF_TASK = f"SELECT * FROM ({_BY_PHASE}) newest {_NEWEST}"  # noqa: S608
_LATEST_OF_VERSION = f"{_RUN} AND task_version = :version {_NEWEST}"


async def latest_run(tx: Tx, task: TaskId, *, of_version: bool) -> LatestRun | None:
    """The run of a task, or of one version of it, that was created last."""
    values = {"project": task.project, "domain": task.domain, "name": task.name}
    if of_version:
        row = await tx.one(_LATEST_OF_VERSION, values | {"version": task.version})
    else:
        row = await tx.one(_LATEST_OF_TASK, values)
    if row is None:
        return None
    run = RunId(row["project"], row["domain"], row["name"])
    return LatestRun(run, rows.time(row["created_at"]), Phase(row["phase"]), row["task_name"])
