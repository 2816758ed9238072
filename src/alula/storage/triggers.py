"""Triggers and their revisions."""

from datetime import datetime
from typing import Any

from alula.core.pages import Order, Page
from alula.core.phase import Phase
from alula.core.trigger import Automation, NewTrigger, Revision, Step, Trigger, TriggerId, TriggerScope
from alula.storage import rows
from alula.storage.changes import Change, Topic, of_action
from alula.storage.database import Row, Tx
from alula.storage.listing import Column, Listing

# No run has the key 0: this change is told to schedulers, here and on other servers, when something may be due.
_DUE = Change(0, "triggers", "", Phase.SUCCEEDED)
DUE: Topic = of_action(_DUE.run, _DUE.action)


def trigger(row: Row) -> Trigger:
    """A row of `triggers`, or of a revision joined with it."""
    return Trigger(
        key=row["key"],
        new=NewTrigger(
            id=TriggerId(row["project"], row["domain"], row["task"], row["name"]),
            org=row["org"],
            spec=row["spec"],
            automation=row["automation"],
            kind=Automation(row["kind"]),
            artifact=row["artifact"],
            active=bool(row["active"]),
            task_version=row["task_version"],
            description=row["description"],
        ),
        revision=row["revision"],
        bundled=bool(row["bundled"]),
        deployed_by=row["deployed_by"],
        updated_by=row["updated_by"],
        deployed_at=rows.time(row["deployed_at"]),
        updated_at=rows.time(row["updated_at"]),
        fired_at=rows.time_or_none(row["fired_at"]),
        deleted_at=rows.time_or_none(row["deleted_at"]),
        next_at=rows.time_or_none(row["next_at"]),
        failures=row["failures"],
        failure=row["failure"],
        note=row["note"],
    )


_THIS = "project = :project AND domain = :domain AND task = :task AND name = :name"


def _id(value: TriggerId) -> dict[str, object]:
    return {"project": value.project, "domain": value.domain, "task": value.task, "name": value.name}


async def find(tx: Tx, name: TriggerId) -> Trigger | None:
    """A trigger by its name, a deleted one too."""
    row = await tx.one(f"SELECT * FROM triggers WHERE {_THIS}", _id(name))  # noqa: S608
    return trigger(row) if row else None


async def of_task(tx: Tx, project: str, domain: str, task: str) -> list[Trigger]:
    """The triggers of a task, in the order of their names."""
    found = await tx.all(
        """
        SELECT * FROM triggers WHERE project = :project AND domain = :domain AND task = :task AND deleted_at IS NULL
        ORDER BY name
        """,
        {"project": project, "domain": domain, "task": task},
    )
    return [trigger(row) for row in found]


async def waiting_for(tx: Tx, project: str, domain: str, artifact: str) -> list[Trigger]:
    """The active triggers that a version of an artifact may fire."""
    found = await tx.all(
        """
        SELECT * FROM triggers
        WHERE project = :project AND domain = :domain AND artifact = :artifact AND artifact <> '' AND active = 1
        ORDER BY key
        """,
        {"project": project, "domain": domain, "artifact": artifact},
    )
    return [trigger(row) for row in found]


async def put(tx: Tx, value: Trigger, step: Step) -> int:
    """Write a trigger as a new revision has it, with the revision; its key. What failed before is forgotten."""
    values = _columns(value)
    row = await tx.one(
        """
        INSERT INTO triggers (
            project, domain, task, name, org, revision, spec, automation, kind, artifact, active, task_version,
            description, bundled, deployed_by, updated_by, deployed_at, updated_at, fired_at, deleted_at, next_at,
            look_at, failures, failure, note
        )
        VALUES (:project, :domain, :task, :name, :org, :revision, :spec, :automation, :kind, :artifact, :active,
            :task_version, :description, :bundled, :deployed_by, :updated_by, :deployed_at, :updated_at, :fired_at,
            :deleted_at, :next_at, :next_at, 0, '', '')
        ON CONFLICT (project, domain, task, name) DO UPDATE SET org = excluded.org, revision = excluded.revision,
            spec = excluded.spec, automation = excluded.automation, kind = excluded.kind, artifact = excluded.artifact,
            active = excluded.active, task_version = excluded.task_version, description = excluded.description,
            bundled = excluded.bundled, deployed_by = excluded.deployed_by, updated_by = excluded.updated_by,
            updated_at = excluded.updated_at, deleted_at = excluded.deleted_at, next_at = excluded.next_at,
            look_at = excluded.next_at, failures = 0, failure = '', note = ''
        RETURNING key
        """,
        values,
    )
    assert row is not None
    await tx.execute(
        """
        INSERT INTO trigger_revisions VALUES (:key, :revision, :step, :spec, :automation, :kind, :artifact, :active,
            :task_version, :description, :deployed_by, :updated_by, :updated_at, :deleted_at)
        """,
        values | {"key": row["key"], "step": int(step)},
    )
    tx.touch([_DUE])
    key: int = row["key"]
    return key


def _columns(value: Trigger) -> dict[str, Any]:
    new = value.new
    return {
        **_id(new.id),
        "org": new.org,
        "revision": value.revision,
        "spec": new.spec,
        "automation": new.automation,
        "kind": int(new.kind),
        "artifact": new.artifact,
        "active": int(new.active),
        "task_version": new.task_version,
        "description": new.description,
        "bundled": int(value.bundled),
        "deployed_by": value.deployed_by,
        "updated_by": value.updated_by,
        "deployed_at": rows.micros(value.deployed_at),
        "updated_at": rows.micros(value.updated_at),
        "fired_at": rows.micros_or_none(value.fired_at),
        "deleted_at": rows.micros_or_none(value.deleted_at),
        "next_at": rows.micros_or_none(value.next_at),
    }


async def fired(tx: Tx, name: TriggerId, at: datetime) -> None:
    """Somebody has fired a trigger by hand: for its schedule that means nothing."""
    await tx.execute(f"UPDATE triggers SET fired_at = :at WHERE {_THIS}", _id(name) | {"at": rows.micros(at)})  # noqa: S608


def due() -> Change:
    """What to `touch` so that schedulers look."""
    return _DUE


def _truth(text: str) -> int:
    if text.lower() not in _TRUTHS:
        raise ValueError(f"{text!r:.40} is neither true nor false")
    return _TRUTHS[text.lower()]


_TRUTHS = {"true": 1, "false": 0, "1": 1, "0": 0}


def _kind(text: str) -> int:
    name = text.upper().removeprefix("TYPE_")
    return int(text) if text.isdecimal() else {kind.name: int(kind) for kind in Automation}.get(name, -1)


def _moment(text: str) -> int:
    at = datetime.fromisoformat(text)
    return rows.micros(at if at.tzinfo else at.astimezone())


_LISTING = Listing(
    select="SELECT t.* /*keys*/ FROM triggers t",
    columns={
        "project": Column("t.project"),
        "domain": Column("t.domain"),
        "task_name": Column("t.task"),
        "name": Column("t.name"),
        "task_version": Column("t.task_version"),
        "description": Column("t.description"),
        "active": Column("t.active", _truth),
        "trigger_type": Column("t.kind", _kind),
        "automation_type": Column("t.kind", _kind),
        "revision": Column("t.revision", int),
        "deployed_at": Column("t.deployed_at", _moment),
        "updated_at": Column("t.updated_at", _moment),
        "triggered_at": Column("coalesce(t.fired_at, 0)", _moment, present="t.fired_at IS NOT NULL"),
    },
    unique=("updated_at", "project", "domain", "task_name", "name"),
    default=(Order("active", descending=True), Order("updated_at", descending=True)),
)


async def page(tx: Tx, scope: TriggerScope, asked: Page) -> tuple[list[Trigger], str]:
    """One page of triggers, without those that are deleted, and the token of the next. The active ones come first."""
    named = {"project": scope.project, "domain": scope.domain, "task": scope.task, "task_version": scope.version}
    used = {field: value for field, value in named.items() if value}
    conditions = ["t.deleted_at IS NULL", *(f"t.{field} = :s_{field}" for field in used)]
    values = {f"s_{field}": value for field, value in used.items()}
    sql, values, keys = _LISTING.query(asked, " AND ".join(conditions), values)
    found, token = keys.cut(await tx.all(sql, values))
    return [trigger(row) for row in found], token


_REVISION = """
    SELECT t.key, t.project, t.domain, t.task, t.name, t.org, t.bundled, t.deployed_at, t.fired_at, t.next_at,
        t.failures, t.failure, t.note, h.revision, h.step, h.spec, h.automation, h.kind, h.artifact, h.active,
        h.task_version, h.description, h.deployed_by, h.updated_by, h.updated_at, h.deleted_at
        /*keys*/ FROM trigger_revisions h JOIN triggers t ON t.key = h.trigger
"""
_HISTORY = Listing(
    select=_REVISION,
    columns={
        "revision": Column("h.revision", int),
        "action": Column("h.step", int),
        "active": Column("h.active", _truth),
        "task_version": Column("h.task_version"),
        "deployed_at": Column("t.deployed_at", _moment),
        "created_at": Column("h.updated_at", _moment),
        "updated_at": Column("h.updated_at", _moment),
    },
    unique=("revision",),
    default=(Order("revision", descending=True),),
)


async def revision(tx: Tx, name: TriggerId, number: int) -> Revision | None:
    """A trigger as one of its revisions had it."""
    where = " AND ".join(f"t.{condition}" for condition in _THIS.split(" AND "))
    row = await tx.one(f"{_REVISION} WHERE {where} AND h.revision = :revision", _id(name) | {"revision": number})
    return Revision(trigger(row), Step(row["step"])) if row else None


async def history(tx: Tx, key: int, asked: Page) -> tuple[list[Revision], str]:
    """One page of a trigger's revisions and the token of the next. The newest come first."""
    sql, values, keys = _HISTORY.query(asked, "h.trigger = :key", {"key": key})
    found, token = keys.cut(await tx.all(sql, values))
    return [Revision(trigger(row), Step(row["step"])) for row in found], token
