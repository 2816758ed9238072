"""Apps, their revisions and their replicas."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from alula.core.app import App, AppId, AppScope, Condition, Deployment, Desired, Plan, Replica, Scaling
from alula.core.pages import Order, Page, Where
from alula.core.phase import Phase
from alula.storage import rows
from alula.storage.changes import Change, Topic, of_run
from alula.storage.database import Row, Tx
from alula.storage.listing import Column, Listing

_APPS = -2  # stands where an action's change has its run
REPLICAS_KEPT = 20  # of an app, with their logs


def of_apps() -> Topic:
    """Every change of every app."""
    return of_run(_APPS)


def changed(key: int) -> Change:
    """An app's row, or its replicas, changed."""
    return Change(_APPS, str(key), "", Phase.SUCCEEDED)


def keys_of(changes: Iterable[Change] | None) -> set[int] | None:
    """The apps that changed; ``None``: any may have."""
    return None if changes is None else {int(change.action) for change in changes}


def status_name(status: int) -> str:
    """A status as lists filter it: by the name of the wire's enum."""
    known = {member.value: member.name for member in Deployment}
    return f"DEPLOYMENT_STATUS_{known.get(status, 'UNSPECIFIED')}"


def _plan(text: str) -> Plan:
    fields = json.loads(text)
    return Plan(**(fields | {"scaling": Scaling(**fields["scaling"])}))


def _conditions_text(conditions: Sequence[Condition]) -> str:
    return json.dumps([asdict(c) | {"at": rows.micros(c.at)} for c in conditions])


def _conditions(text: str) -> tuple[Condition, ...]:
    return tuple(Condition(**(fields | {"at": rows.time(fields["at"])})) for fields in json.loads(text))


def _app(row: Row) -> App:
    return App(
        key=row["key"],
        id=AppId(row["project"], row["domain"], row["name"]),
        org=row["org"],
        host=row["host"],
        revision=row["revision"],
        desired=Desired(row["desired"]),
        spec=row["spec"],
        meta=row["meta"],
        plan=_plan(row["plan"]),
        created_by=row["created_by"],
        assigned=row["assigned"],
        lease_until=rows.time_or_none(row["lease_until"]),
        replicas=row["replicas"],
        conditions=_conditions(row["conditions"]),
        created_at=rows.time(row["created_at"]),
        updated_at=rows.time(row["updated_at"]),
        started_at=rows.time_or_none(row["started_at"]),
    )


def _values(app: App) -> dict[str, Any]:
    return {
        "project": app.id.project,
        "domain": app.id.domain,
        "name": app.id.name,
        "org": app.org,
        "host": app.host,
        "revision": app.revision,
        "desired": int(app.desired),
        "spec": app.spec,
        "meta": app.meta,
        "plan": json.dumps(asdict(app.plan)),
        "consumed": f"\n{app.plan.consumed}",
        "created_by": app.created_by,
        "assigned": app.assigned,
        "lease_until": rows.micros_or_none(app.lease_until),
        "status": status_name(app.status.status),
        "replicas": app.replicas,
        "conditions": _conditions_text(app.conditions),
        "created_at": rows.micros(app.created_at),
        "updated_at": rows.micros(app.updated_at),
        "started_at": rows.micros_or_none(app.started_at),
    }


_COLUMNS = (
    "project", "domain", "name", "org", "host", "revision", "desired", "spec", "meta", "plan", "consumed",
    "created_by", "assigned", "lease_until", "status", "replicas", "conditions", "created_at", "updated_at",
    "started_at",
)  # fmt: skip
_INSERT = f"INSERT INTO apps ({', '.join(_COLUMNS)}) VALUES ({', '.join(f':{c}' for c in _COLUMNS)})"  # noqa: S608
_UPDATE = f"UPDATE apps SET {', '.join(f'{c} = :{c}' for c in _COLUMNS)} WHERE key = :key"  # noqa: S608


async def find(tx: Tx, app: AppId) -> App | None:
    """An app by its name."""
    row = await tx.one(
        "SELECT * FROM apps WHERE project = :project AND domain = :domain AND name = :name",
        {"project": app.project, "domain": app.domain, "name": app.name},
    )
    return _app(row) if row else None


async def get(tx: Tx, key: int) -> App | None:
    """An app by its key."""
    row = await tx.one("SELECT * FROM apps WHERE key = :key", {"key": key})
    return _app(row) if row else None


async def at_host(tx: Tx, host: str) -> App | None:
    """The app of a DNS label."""
    row = await tx.one("SELECT * FROM apps WHERE host = :host", {"host": host})
    return _app(row) if row else None


async def insert(tx: Tx, app: App, reason: str) -> App:
    """Write a new app; it as it is stored. The name and the host must be free."""
    await tx.execute(_INSERT, _values(app))
    made = await find(tx, app.id)
    assert made is not None, "it was just written"
    await _keep_revision(tx, made, reason)
    tx.touch([changed(made.key)])
    return made


async def put(tx: Tx, app: App, reason: str | None = None) -> None:
    """Replace an app's row; with a reason, this is a revision of its own."""
    await tx.execute(_UPDATE, {**_values(app), "key": app.key})
    if reason is not None:
        await _keep_revision(tx, app, reason)
    tx.touch([changed(app.key)])


async def _keep_revision(tx: Tx, app: App, reason: str) -> None:
    await tx.execute(
        "INSERT INTO app_revisions VALUES (:app, :revision, :spec, :meta, :reason, :at)",
        {
            "app": app.key,
            "revision": app.revision,
            "spec": app.spec,
            "meta": app.meta,
            "reason": reason,
            "at": rows.micros(app.updated_at),
        },
    )


async def remove(tx: Tx, key: int) -> None:
    """Delete an app and all that is kept of it."""
    await tx.execute("DELETE FROM app_replicas WHERE app = :key", {"key": key})
    await tx.execute("DELETE FROM app_revisions WHERE app = :key", {"key": key})
    await tx.execute("DELETE FROM apps WHERE key = :key", {"key": key})
    tx.touch([changed(key)])


async def keys(tx: Tx) -> list[int]:
    """Every app."""
    return [row["key"] for row in await tx.all("SELECT key FROM apps")]


_LISTING = Listing(
    select="SELECT a.* /*keys*/ FROM apps a",
    columns={
        "project": Column("a.project"),
        "domain": Column("a.domain"),
        "name": Column("a.name"),
        "created_by": Column("a.created_by"),
        "status_phase": Column("a.status"),
        "cluster": Column("a.assigned"),
        "revision": Column("a.revision", int),
        "created_at": Column("a.created_at", int),
        "updated_at": Column("a.updated_at", int),
    },
    unique=("created_at", "project", "domain", "name"),
    default=(Order("created_at", descending=True),),
)


def _conditions_of(scope: AppScope) -> tuple[str, dict[str, Any]]:
    named = {"project": scope.project, "domain": scope.domain, "name": scope.name, "assigned": scope.cluster}
    conditions = [f"a.{field} = :s_{field}" for field, value in named.items() if value]
    values: dict[str, Any] = {f"s_{field}": value for field, value in named.items() if value}
    if scope.consumed:
        conditions.append("instr(a.consumed, :s_consumed) > 0")
        values["s_consumed"] = f"\n{scope.consumed}"
    return " AND ".join(conditions), values


async def page(tx: Tx, scope: AppScope, asked: Page) -> tuple[list[App], str]:
    """One page of apps and the token of the next."""
    conditions, values = _conditions_of(scope)
    sql, values, keys = _LISTING.query(asked, conditions, values)
    found, token = keys.cut(await tx.all(sql, values))
    return [_app(row) for row in found], token


async def count(tx: Tx, scope: AppScope, where: Sequence[Where]) -> int:
    """How many apps there are on all pages of a list."""
    conditions, values = _conditions_of(scope)
    sql, values, _ = _LISTING.query(Page(where=tuple(where)), conditions, values)
    row = await tx.one(f"SELECT count(*) AS n FROM ({sql.rpartition(' ORDER BY ')[0]}) AS listed", values)  # noqa: S608
    assert row is not None
    total: int = row["n"]
    return total


async def matching(tx: Tx, scope: AppScope) -> list[App]:
    """Every app of a scope, oldest first."""
    conditions, values = _conditions_of(scope)
    where = f" WHERE {conditions}" if conditions else ""
    return [_app(row) for row in await tx.all(f"SELECT a.* FROM apps a{where} ORDER BY a.key", values)]  # noqa: S608


# Replicas


async def start_replica(tx: Tx, replica: Replica) -> list[str]:
    """Write a replica down; the names of ended ones that are forgotten in its favour."""
    await tx.execute(
        "INSERT INTO app_replicas VALUES (:name, :app, :revision, :started_at, NULL)",
        {
            "name": replica.name,
            "app": replica.app,
            "revision": replica.revision,
            "started_at": rows.micros(replica.started_at),
        },
    )
    old = await tx.all(
        f"""
        SELECT name FROM app_replicas WHERE app = :app AND ended_at IS NOT NULL
        ORDER BY started_at DESC LIMIT 1000 OFFSET {REPLICAS_KEPT}
        """,  # noqa: S608
        {"app": replica.app},
    )
    names = [row["name"] for row in old]
    for name in names:
        await tx.execute("DELETE FROM app_replicas WHERE name = :name", {"name": name})
    tx.touch([changed(replica.app)])
    return names


async def end_replicas(tx: Tx, at: datetime) -> None:
    """No replica of any app runs any more."""
    await tx.execute("UPDATE app_replicas SET ended_at = :at WHERE ended_at IS NULL", {"at": rows.micros(at)})


async def end_replica(tx: Tx, app: int, name: str, at: datetime) -> None:
    """A replica is no more; its log is."""
    await tx.execute(
        "UPDATE app_replicas SET ended_at = :at WHERE name = :name AND ended_at IS NULL",
        {"name": name, "at": rows.micros(at)},
    )
    tx.touch([changed(app)])


async def replicas(tx: Tx, app: int) -> list[Replica]:
    """An app's replicas, oldest first."""
    found = await tx.all("SELECT * FROM app_replicas WHERE app = :app ORDER BY started_at, name", {"app": app})
    return [_replica(row) for row in found]


async def replica_names(tx: Tx) -> list[str]:
    """The replicas of every app."""
    return [row["name"] for row in await tx.all("SELECT name FROM app_replicas")]


def _replica(row: Row) -> Replica:
    ended_at = rows.time_or_none(row["ended_at"])
    return Replica(row["app"], row["name"], row["revision"], rows.time(row["started_at"]), ended_at)
