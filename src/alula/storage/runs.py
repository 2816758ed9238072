"""Runs: what all actions of one have in common."""

import re
from datetime import datetime

from alula.core.action import Action
from alula.core.ids import ROOT, RunId
from alula.core.pages import Order, Page
from alula.core.run import Run, RunScope
from alula.storage import rows
from alula.storage.actions import SELECT
from alula.storage.database import Row, Tx
from alula.storage.listing import Column, Listing


def _run(row: Row) -> Run:
    return Run(
        key=row["key"],
        id=RunId(row["project"], row["domain"], row["name"]),
        org=row["org"],
        digest=row["digest"],
        spec=row["run_spec"],
        labels=rows.labels(row["labels"]),
        relation=row["relation"],
        source=row["source"],
        starts_at=rows.time(row["starts_at"]),
        created_at=rows.time(row["created_at"]),
        seq=row["seq"],
        created_by=row["created_by"],
        queue=row["queue"],
        max_concurrency=row["max_concurrency"],
        overwrite_cache=bool(row["overwrite_cache"]),
        cache_everywhere=bool(row["cache_everywhere"]),
        notify=bool(row["notify"]),
        recovers=row["recovers"],
    )


async def find(tx: Tx, run: RunId) -> Run | None:
    """A run by its name."""
    row = await tx.one(
        "SELECT * FROM runs WHERE project = :project AND domain = :domain AND name = :name",
        {"project": run.project, "domain": run.domain, "name": run.name},
    )
    return _run(row) if row else None


async def get(tx: Tx, key: int) -> Run | None:
    """A run by its key."""
    row = await tx.one("SELECT * FROM runs WHERE key = :key", {"key": key})
    return _run(row) if row else None


async def insert(tx: Tx, run: Run) -> int | None:
    """Write a new run (its ``key`` and ``seq`` are given here); its key, or ``None`` if there is one of that name."""
    row = await tx.one(
        """
        INSERT INTO runs (
            project, domain, name, org, digest, run_spec, labels, relation, source, starts_at, created_at, seq,
            created_by, queue, max_concurrency, overwrite_cache, cache_everywhere, notify, recovers
        )
        VALUES (:project, :domain, :name, :org, :digest, :spec, :labels, :relation, :source, :starts_at, :created_at, 0,
            :created_by, :queue, :max_concurrency, :overwrite_cache, :cache_everywhere, :notify, :recovers)
        ON CONFLICT DO NOTHING RETURNING key
        """,
        {
            "project": run.id.project,
            "domain": run.id.domain,
            "name": run.id.name,
            "org": run.org,
            "digest": run.digest,
            "spec": run.spec,
            "labels": rows.labels_text(run.labels),
            "relation": run.relation,
            "source": run.source,
            "starts_at": rows.micros(run.starts_at),
            "created_at": rows.micros(run.created_at),
            "created_by": run.created_by,
            "queue": run.queue,
            "max_concurrency": run.max_concurrency,
            "overwrite_cache": int(run.overwrite_cache),
            "cache_everywhere": int(run.cache_everywhere),
            "notify": int(run.notify),
            "recovers": run.recovers,
        },
    )
    return row["key"] if row else None


def _moment(text: str) -> int:
    at = datetime.fromisoformat(text)
    return rows.micros(at if at.tzinfo else at.astimezone())


_FIELDS = {
    "phase": Column("a.phase", int),
    "created_at": Column("a.created_at", _moment),
    "updated_at": Column("a.updated_at", _moment),
    "ended_at": Column("coalesce(a.ended_at, 0)", _moment),
    "attempts": Column("a.attempt", int),
    "action_type": Column("a.kind", int),
    "action_group": Column("a.grp"),
    "parent_name": Column("coalesce(a.parent, '')"),
    "parent_action_name": Column("coalesce(a.parent, '')"),
    "project": Column("r.project"),
    "domain": Column("r.domain"),
    "run_name": Column("r.name"),
    "run_source": Column("r.source", int),
    "task_project": Column("a.task_project"),
    "task_domain": Column("a.task_domain"),
    "task_name": Column("a.task_name"),
    "task_version": Column("a.task_version"),
    "task_type": Column("a.task_type"),
    "task_short_name": Column("a.short_name"),
    "environment_name": Column("a.environment"),
    "function_name": Column("a.task_name"),
}
_SELECT = SELECT.replace("r.org\n", "r.org /*keys*/\n")


def _label(field: str) -> Column | None:
    """``labels.team`` is the value of the run's label ``team``."""
    named = _LABEL.fullmatch(field)
    if named is None:
        return None
    value = f"""json_extract(r.labels, '$."{named[1]}"')"""
    return Column(f"coalesce({value}, '')", present=f"{value} IS NOT NULL")


_LABEL = re.compile(r"labels\.([A-Za-z0-9._/-]{1,317})")  # what Kubernetes takes as a label's name
_RUNS = Listing(
    select=_SELECT,
    columns=_FIELDS | {"name": Column("r.name")},
    computed=_label,
    unique=("created_at", "run_name", "project", "domain"),
    default=(Order("created_at", descending=True),),
)
_ACTIONS = Listing(
    select=_SELECT,
    columns=_FIELDS | {"name": Column("a.name")},
    unique=("created_at", "name"),
    default=(Order("created_at", descending=False),),
)


async def page(tx: Tx, scope: RunScope, asked: Page) -> tuple[list[Action], str]:
    """One page of runs, each as its root action, and the token of the next."""
    columns = {
        "r.project": scope.project,
        "r.domain": scope.domain,
        "a.task_project": scope.task_project,
        "a.task_domain": scope.task_domain,
        "a.task_name": scope.task_name,
        "a.task_version": scope.task_version,
    }
    used = [(sql, value) for sql, value in columns.items() if value]
    conditions = [f"a.name = '{ROOT}'", *(f"{sql} = :s{i}" for i, (sql, _) in enumerate(used))]
    if scope.paused:
        conditions.append("EXISTS (SELECT 1 FROM actions p WHERE p.run = a.run AND p.phase = 9)")
    sql, values, keys = _RUNS.query(asked, " AND ".join(conditions), {f"s{i}": v for i, (_, v) in enumerate(used)})
    found, token = keys.cut(await tx.all(sql, values))
    return [rows.action(row) for row in found], token


async def page_of_actions(tx: Tx, run: int, asked: Page) -> tuple[list[Action], str]:
    """One page of a run's actions and the token of the next."""
    sql, values, keys = _ACTIONS.query(asked, "a.run = :run", {"run": run})
    found, token = keys.cut(await tx.all(sql, values))
    return [rows.action(row) for row in found], token
