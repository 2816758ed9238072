"""Runs grouped by their tasks. Each group is counted from the rows of its own runs, found by an index."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from alula.core.action import Blame
from alula.core.groups import Group, GroupScope
from alula.core.ids import ROOT
from alula.core.pages import Page
from alula.core.phase import Phase
from alula.storage import rows
from alula.storage.database import Row, Tx
from alula.storage.runs import conditions_on

_RECENT = 10
_TASK = "coalesce(r.task_name, '')"  # SQLite is to choose its index by the conditions, and not by the grouping
_FROM = f"FROM runs r CROSS JOIN actions a WHERE a.run = r.key AND a.name = '{ROOT}' AND"


async def all_groups(tx: Tx, scope: GroupScope) -> dict[str, Group]:
    """Every group of a scope, by its task."""
    return await _groups(tx, scope, "")


async def group(tx: Tx, scope: GroupScope, task: str) -> Group | None:
    """One group; ``None`` if it has no runs."""
    return (await _groups(tx, scope, task)).get(task)


async def tasks_of(tx: Tx, scope: GroupScope, runs: Iterable[int]) -> set[str]:
    """The tasks of those runs that may be in a scope."""
    found = [
        await tx.one(
            """
            SELECT task_name FROM runs WHERE key = :key AND hosted = 1
            AND project = :project AND domain = :domain AND created_at >= :start
            """,
            {"key": key, "project": scope.project, "domain": scope.domain, "start": rows.micros(scope.start)},
        )
        for key in runs
    ]
    return {row["task_name"] for row in found if row is not None}


async def _groups(tx: Tx, scope: GroupScope, task: str) -> dict[str, Group]:
    where, values = _where(scope, task)
    counted = await tx.all(
        f"""
        SELECT {_TASK} AS task_name, r.phase, count(*) AS runs, max(r.created_at) AS latest,
            max(a.ended_at) AS finished, count(a.ended_at) AS ended, sum(a.ended_at - a.created_at) AS lasted,
            count(a.started_at) AS started, sum(a.started_at - a.created_at) AS waited
        {_FROM} {where} GROUP BY {_TASK}, r.phase
        """,
        values,
    )
    blamed = await tx.all(
        f"""
        SELECT {_TASK} AS task_name, json_extract(a.failure, '$.blame') AS blame, count(*) AS runs
        {_FROM} {where} AND r.phase IN (6, 8) AND a.failure IS NOT NULL
        GROUP BY {_TASK}, json_extract(a.failure, '$.blame')
        """,
        values,
    )
    creators = await tx.all(
        f"""
        SELECT DISTINCT {_TASK} AS task_name, r.created_by
        {_FROM} {where} AND r.created_by <> '' ORDER BY r.created_by
        """,
        values,
    )
    phases: dict[str, list[Row]] = defaultdict(list)
    for row in counted:
        phases[row["task_name"]].append(row)
    errors: dict[str, dict[Blame, int]] = defaultdict(dict)
    for row in blamed:
        errors[row["task_name"]][Blame(int(row["blame"]))] = row["runs"]
    by: dict[str, list[str]] = defaultdict(list)
    for row in creators:
        by[row["task_name"]].append(row["created_by"])
    return {
        name: _group(name, found, errors[name], by[name], await _recent(tx, scope, name))
        for name, found in phases.items()
    }


async def _recent(tx: Tx, scope: GroupScope, task: str) -> list[Row]:
    where, values = _where(scope, task)
    return await tx.all(
        f"""
        SELECT r.name, r.phase, a.environment, a.short_name {_FROM} {where}
        ORDER BY r.created_at DESC, r.name DESC LIMIT {_RECENT}
        """,
        values,
    )


def _where(scope: GroupScope, task: str) -> tuple[str, dict[str, Any]]:
    values: dict[str, Any] = {
        "project": scope.project,
        "domain": scope.domain,
        "start": rows.micros(scope.start),
        "end": 2**63 - 1 if scope.end is None else rows.micros(scope.end),
    }
    conditions = [
        "r.hosted = 1 AND r.project = :project AND r.domain = :domain",
        "r.created_at >= :start AND r.created_at <= :end",
        *conditions_on(Page(where=scope.where), values),
    ]
    if task:
        conditions.append("r.task_name = :task")
        values["task"] = task
    return " AND ".join(f"({condition})" for condition in conditions), values


def _group(task: str, found: list[Row], errors: dict[Blame, int], by: list[str], recent: list[Row]) -> Group:
    finished = [row["finished"] for row in found if row["ended"] and Phase(row["phase"]).terminal]
    return Group(
        task=task,
        environment=recent[0]["environment"],
        short_name=recent[0]["short_name"],
        phases={Phase(row["phase"]): row["runs"] for row in found},
        errors=errors,
        recent=tuple((row["name"], Phase(row["phase"])) for row in recent),
        created_by=tuple(by),
        latest_run=rows.time(max(row["latest"] for row in found)),
        latest_finished=rows.time(max(finished)) if finished else None,
        duration=_mean(found, "lasted", "ended"),
        time_to_running=_mean(found, "waited", "started"),
    )


def _mean(found: list[Row], total: str, count: str) -> timedelta | None:
    counted = sum(row[count] for row in found)
    return timedelta(microseconds=int(sum(row[total] or 0 for row in found)) // counted) if counted else None
