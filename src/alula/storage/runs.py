"""Runs: what all actions of one have in common."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from alula.core.action import Action, NewAction, TaskRef
from alula.core.ids import ROOT, RunId
from alula.core.pages import Order, Page, Test, Where
from alula.core.phase import Phase
from alula.core.run import Run, RunScope
from alula.storage import rows
from alula.storage.actions import SELECT
from alula.storage.database import Row, Tx
from alula.storage.listing import Column, Keys, Listing


def read(row: Row) -> Run:
    """A row of `runs`."""
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
        hosted=bool(row["hosted"]),
        recovers=row["recovers"],
        trigger=rows.fired_by(row),
    )


async def find(tx: Tx, run: RunId) -> Run | None:
    """A run by its name."""
    row = await tx.one(
        "SELECT * FROM runs WHERE project = :project AND domain = :domain AND name = :name AND deleting = 0",
        {"project": run.project, "domain": run.domain, "name": run.name},
    )
    return read(row) if row else None


async def get(tx: Tx, key: int) -> Run | None:
    """A run by its key."""
    row = await tx.one("SELECT * FROM runs WHERE key = :key", {"key": key})
    return read(row) if row else None


async def insert(tx: Tx, run: Run) -> int | None:
    """Write a new run (its ``key`` and ``seq`` are given here); its key, or ``None`` if there is one of that name."""
    row = await tx.one(INSERT, values(run))
    return row["key"] if row else None


INSERT = """
    INSERT INTO runs (
        project, domain, name, org, digest, run_spec, labels, relation, source, starts_at, created_at, seq,
        created_by, queue, max_concurrency, overwrite_cache, cache_everywhere, notify, hosted,
        recovers, phase, task_project, task_domain, task_name, task_version,
        trigger_task, trigger_name, trigger_revision, trigger_type
    )
    VALUES (:project, :domain, :name, :org, :digest, :spec, :labels, :relation, :source, :starts_at, :created_at, :seq,
        :created_by, :queue, :max_concurrency, :overwrite_cache, :cache_everywhere, :notify, :hosted,
        :recovers, :phase, :task_project, :task_domain, :task_name, :task_version,
        :trigger_task, :trigger_name, :trigger_revision, :trigger_type)
    ON CONFLICT DO NOTHING RETURNING key, project, domain, name
"""


def values(run: Run, root: NewAction | None = None) -> dict[str, Any]:
    """A new run for `INSERT`, perhaps together with its root and that one's first event."""
    task = root.task if root else TaskRef()
    return {
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
        "hosted": int(run.hosted),
        "recovers": run.recovers,
        "trigger_task": run.trigger.task,
        "trigger_name": run.trigger.name,
        "trigger_revision": run.trigger.revision,
        "trigger_type": run.trigger.automation,
        "seq": 1 if root else 0,
        "phase": int(root.phase) if root else 0,
        "task_project": task.project,
        "task_domain": task.domain,
        "task_name": task.name,
        "task_version": task.version,
    }


def _moment(text: str) -> int:
    at = datetime.fromisoformat(text)
    return rows.micros(at if at.tzinfo else at.astimezone())


_OF_RUNS = {
    "phase": Column("r.phase", int),
    "created_at": Column("r.created_at", _moment),
    "project": Column("r.project"),
    "domain": Column("r.domain"),
    "run_name": Column("r.name"),
    "run_source": Column("r.source", int),
    "task_project": Column("r.task_project"),
    "task_domain": Column("r.task_domain"),
    "task_name": Column("r.task_name"),
    "task_version": Column("r.task_version"),
    "function_name": Column("r.task_name"),
    "trigger_name": Column("r.trigger_name"),
    "trigger_task_name": Column("r.trigger_task"),
    "trigger_revision": Column("r.trigger_revision", int),
}
_OF_ACTIONS = {
    "phase": Column("a.phase", int),
    "created_at": Column("a.created_at", _moment),
    "updated_at": Column("a.updated_at", _moment),
    "ended_at": Column("coalesce(a.ended_at, 0)", _moment),
    "attempts": Column("a.attempt", int),
    "action_type": Column("a.kind", int),
    "action_group": Column("a.grp"),
    "parent_name": Column("coalesce(a.parent, '')"),
    "parent_action_name": Column("coalesce(a.parent, '')"),
    "task_project": Column("a.task_project"),
    "task_domain": Column("a.task_domain"),
    "task_name": Column("a.task_name"),
    "task_version": Column("a.task_version"),
    "task_type": Column("a.task_type"),
    "task_short_name": Column("a.short_name"),
    "environment_name": Column("a.environment"),
    "function_name": Column("a.task_name"),
}


def _label(field: str) -> Column | None:
    """``labels.team`` is the value of the run's label ``team``."""
    named = _LABEL.fullmatch(field)
    if named is None:
        return None
    value = f"""json_extract(r.labels, '$."{named[1]}"')"""
    return Column(f"coalesce({value}, '')", present=f"{value} IS NOT NULL")


_LABEL = re.compile(r"labels\.([A-Za-z0-9._/-]{1,317})")  # what Kubernetes takes as a label's name
_RUNS = Listing(
    select=SELECT,
    columns=_OF_ACTIONS | _OF_RUNS | {"name": Column("r.name")},
    computed=_label,
    unique=("created_at", "run_name", "project", "domain"),
    default=(Order("created_at", descending=True),),
)
_ACTIONS = Listing(
    select=SELECT,
    columns=_OF_RUNS | _OF_ACTIONS | {"name": Column("a.name")},
    unique=("created_at", "name"),
    default=(Order("created_at", descending=False),),
)


async def page(tx: Tx, scope: RunScope, asked: Page) -> tuple[list[Action], str]:
    """One page of runs, each as its root action, and the token of the next. The newest come first.

    In the order of their age it costs the same however many runs there are. Of a choice of phases each has its own
    stretch of an index, and the page is merged from the first rows of each.
    """
    sql, values, keys = page_query(scope, asked)
    found, token = keys.cut(await tx.all(sql, values))
    return [rows.action(row) for row in found], token


def page_query(scope: RunScope, asked: Page) -> tuple[str, dict[str, Any], Keys]:
    """The statement of `page`."""
    phases, others = _phases(asked.where)
    clauses = _RUNS.clauses(replace(asked, where=others), {})
    conditions = [*conditions_of(scope, clauses.values), *clauses.conditions]
    named = {where.field for where in others} | {order.field for order in clauses.page.order}
    tables = "runs r"
    if any(name in _OF_ACTIONS and name not in _OF_RUNS for name in named):
        tables = "runs r CROSS JOIN actions a"
        conditions.append(f"a.run = r.key AND a.name = '{ROOT}'")
    stretches = [f"r.phase = {phase}" for phase in phases]
    if len(phases) == len(Phase):
        stretches = ["1 = 1"]
    elif scope.task_name:  # a task has not so many runs
        stretches = [f"r.phase + 0 IN ({', '.join(map(str, phases))})"]  # the index of phases is not to be used
    if scope.paused:  # there are few of those
        tables = f"(SELECT DISTINCT run FROM actions WHERE phase = 9) p CROSS JOIN {tables}"  # noqa: S608
        stretches = [f"r.key = p.run AND r.phase IN ({', '.join(map(str, phases))})"]
    limit = clauses.page.limit + 1
    branches = " UNION ALL ".join(
        f"SELECT * FROM (SELECT r.key AS run_key, {clauses.keys} FROM {tables}"  # noqa: S608
        f" WHERE {' AND '.join(f'({c})' for c in [stretch, *conditions])} ORDER BY {clauses.by} LIMIT {limit}) s{i}"
        for i, stretch in enumerate(stretches)
    )
    by = ", ".join(f"key_{i} {'DESC' if o.descending else 'ASC'}" for i, o in enumerate(clauses.page.order))
    keys = "".join(f", key_{i}" for i in range(len(clauses.page.order)))
    page = f"SELECT * FROM ({branches}) merged ORDER BY {by} LIMIT {limit}"  # noqa: S608
    select = SELECT.replace("/*keys*/", keys).replace(
        "FROM actions a JOIN runs r ON r.key = a.run",
        f"FROM ({page}) page CROSS JOIN runs r CROSS JOIN actions a",
    )
    sql = f"{select} WHERE r.key = page.run_key AND a.run = r.key AND a.name = '{ROOT}' ORDER BY {by}"
    return sql, clauses.values, clauses.page


def conditions_of(scope: RunScope, values: dict[str, Any]) -> list[str]:
    """Which runs (`r`) are in a scope; what is compared with is added to ``values``."""
    columns = {
        "r.hosted": int(scope.hosted),
        "r.project": scope.project,
        "r.domain": scope.domain,
        "r.task_project": scope.task_project,
        "r.task_domain": scope.task_domain,
        "r.task_name": scope.task_name,
        "r.task_version": scope.task_version,
        "r.trigger_task": scope.trigger_task,
        "r.trigger_name": scope.trigger_name,
    }
    used = [(sql, value) for sql, value in columns.items() if value != ""]
    values |= {f"s{i}": value for i, (_, value) in enumerate(used)}
    indexed = ["r.trigger_name <> ''"] if scope.trigger_name else []
    return [f"{sql} = :s{i}" for i, (sql, _) in enumerate(used)] + indexed + ["r.deleting = 0"]


def conditions_on(asked: Page, values: dict[str, Any]) -> list[str]:
    """A caller's conditions in SQL, on a run `r` and its root `a`; what is compared with is added to ``values``."""
    clauses = _RUNS.clauses(asked, values)
    values |= clauses.values
    return list(clauses.conditions)


def _phases(wheres: Sequence[Where]) -> tuple[list[int], tuple[Where, ...]]:
    """The phases that conditions leave to choose from, and the conditions on all else."""
    phases, others = {int(phase) for phase in Phase}, []
    for where in wheres:
        plain = where.test is Test.VALUE_IN or (where.test is Test.EQUAL and len(where.values) == 1)
        if where.field == "phase" and plain and where.values and all(map(_NUMBER.fullmatch, where.values)):
            phases &= {int(value) for value in where.values}
        else:
            others.append(where)
    return sorted(phases) or [_NONE], tuple(others)


_NUMBER = re.compile(r"[0-9]{1,9}")
_NONE = 0  # the phase of no run


async def page_of_actions(tx: Tx, run: int, asked: Page) -> tuple[list[Action], str]:
    """One page of a run's actions and the token of the next."""
    sql, values, keys = _ACTIONS.query(asked, "a.run = :run", {"run": run})
    found, token = keys.cut(await tx.all(sql, values))
    return [rows.action(row) for row in found], token
