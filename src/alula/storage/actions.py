"""Actions and their events. Every change of a row appends the event that says why, in the same transaction."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from alula.core import notice
from alula.core.action import Action, Event, Kind, NewAction, TaskRef, Unfinished
from alula.core.errors import Stale
from alula.core.ids import ROOT, ActionId
from alula.core.lease import SHARDS
from alula.core.phase import TERMINAL, Phase
from alula.storage import outbox, rows
from alula.storage.changes import Change
from alula.storage.database import Tx

SELECT = """
    SELECT a.*, r.project, r.domain, r.name AS run_name, r.labels, r.relation, r.source, r.created_by,
        r.max_concurrency, r.recovers, r.overwrite_cache, r.cache_everywhere,
        r.trigger_task, r.trigger_name, r.trigger_revision, r.trigger_type, r.org
    FROM actions a JOIN runs r ON r.key = a.run
"""
_TERMINAL = ", ".join(str(int(phase)) for phase in sorted(TERMINAL))


async def find(tx: Tx, action: ActionId) -> Action | None:
    """An action by its name."""
    run = action.run
    row = await tx.one(
        SELECT
        + "WHERE r.project = :project AND r.domain = :domain AND r.name = :run AND r.deleting = 0 AND a.name = :name",
        {"project": run.project, "domain": run.domain, "run": run.name, "name": action.name},
    )
    return rows.action(row) if row else None


async def get(tx: Tx, run: int, name: str) -> Action | None:
    """An action by its key."""
    row = await tx.one(SELECT + "WHERE a.run = :run AND a.name = :name", {"run": run, "name": name})
    return rows.action(row) if row else None


async def children_after(tx: Tx, run: int, parent: str, seq: int, limit: int) -> list[Action]:
    """The direct children that changed after ``seq``, each as it is now, in the order of their last change."""
    found = await tx.all(
        SELECT + "WHERE a.run = :run AND a.parent = :parent AND a.seq > :seq ORDER BY a.seq LIMIT :limit",
        {"run": run, "parent": parent, "seq": seq, "limit": limit},
    )
    return [rows.action(row) for row in found]


async def asking_for(tx: Tx, cache_key: str) -> list[tuple[int, str]]:
    """The keys of the unfinished actions with a cache key."""
    found = await tx.all(
        """
        SELECT run, name FROM actions
        WHERE cache_key = :cache_key AND cache_key <> '' AND phase IN (1, 2, 3, 4, 9) ORDER BY run, name
        """,
        {"cache_key": cache_key},
    )
    return [(row["run"], row["name"]) for row in found]


async def traces(tx: Tx, run: int, parent: str) -> list[Action]:
    """The traces of an action that succeeded."""
    found = await tx.all(
        SELECT + "WHERE a.run = :run AND a.parent = :parent AND a.kind = 2 AND a.phase IN (5, 10) ORDER BY a.seq",
        {"run": run, "parent": parent},
    )
    return [rows.action(row) for row in found]


async def changed_after(tx: Tx, run: int, seq: int, limit: int) -> list[Action]:
    """The actions of a run that changed after ``seq``, each as it is now, in the order of their last change."""
    found = await tx.all(
        SELECT + "WHERE a.run = :run AND a.seq > :seq ORDER BY a.seq LIMIT :limit",
        {"run": run, "seq": seq, "limit": limit},
    )
    return [rows.action(row) for row in found]


async def descendants(tx: Tx, run: int, name: str, limit: int) -> list[Action]:
    """What is below an action and has not ended, nearest first, at most ``limit``."""
    found = await tx.all(
        f"""
        WITH RECURSIVE below (name, depth) AS (
            SELECT name, 1 FROM actions WHERE run = :run AND parent = :name
            UNION
            SELECT c.name, b.depth + 1 FROM below b JOIN actions c ON c.run = :run AND c.parent = b.name
        )
        {SELECT} JOIN below ON below.name = a.name
        WHERE a.run = :run AND a.phase NOT IN ({_TERMINAL}) ORDER BY below.depth LIMIT :limit
        """,  # noqa: S608
        {"run": run, "name": name, "limit": limit},
    )
    return [rows.action(row) for row in found]


async def orphans(tx: Tx) -> list[tuple[Action, Action]]:
    """Actions of this server's that have not ended though their parent has, each with its parent."""
    found = await tx.all(
        f"""
        {SELECT} JOIN actions p ON p.run = a.run AND p.name = a.parent
        WHERE a.hosted = 1 AND a.phase IN (1, 2, 3, 4, 9) AND p.phase IN ({_TERMINAL})
        """
    )
    pairs = [(rows.action(row), await get(tx, row["run"], row["parent"])) for row in found]
    return [(orphan, parent) for orphan, parent in pairs if parent is not None]


async def queue(
    tx: Tx, after: tuple[int, str], limit: int, shards: Collection[int] | None = None
) -> list[Unfinished]:
    """What this server has to bring about, behind a key and in the order of the keys: the queue, a piece at a time.

    ``shards``: only of their runs.
    """
    if shards is not None and not shards:
        return []
    ours = "" if shards is None else f"AND a.run % {SHARDS} IN ({', '.join(str(int(one)) for one in sorted(shards))})"
    found = await tx.all(
        f"""
        SELECT a.run, a.name, a.attempt, r.project, r.domain, r.name AS run_name
        FROM actions a JOIN runs r ON r.key = a.run
        WHERE a.hosted = 1 AND a.phase IN (1, 2, 3, 4, 9) AND (a.run, a.name) > (:run, :name) {ours}
        ORDER BY a.run, a.name LIMIT :limit
        """,  # noqa: S608
        {"run": after[0], "name": after[1], "limit": limit},
    )
    return [rows.unfinished(row) for row in found]


async def events(tx: Tx, run: int, name: str) -> list[Event]:
    """Everything that happened to an action, in order."""
    found = await tx.all(
        """
        SELECT * FROM events WHERE run = :run AND seq IN (
            SELECT seq FROM events WHERE run = :run AND action = :action
        ) ORDER BY seq
        """,
        {"run": run, "action": name},
    )
    return [rows.event(row) for row in found]


async def times(tx: Tx, run: int, event: Event) -> list[datetime]:
    """When the events happened that were told of an action under the same attempt, phase and version."""
    found = await tx.all(
        """
        SELECT at FROM events
        WHERE run = :run AND action = :action AND attempt = :attempt AND phase = :phase AND version = :version
        """,
        {
            "run": run,
            "action": event.action,
            "attempt": event.attempt,
            "phase": int(event.phase),
            "version": event.version,
        },
    )
    return [rows.time(row["at"]) for row in found]


async def story_after(tx: Tx, run: int, name: str, attempt: int, seq: int) -> list[Event]:
    """What happened to an attempt after ``seq``, in order."""
    found = await tx.all(
        """
        SELECT * FROM events WHERE run = :run AND seq IN (
            SELECT seq FROM events WHERE run = :run AND action = :action AND attempt = :attempt AND seq + 0 > :seq
        ) ORDER BY seq
        """,
        {"run": run, "action": name, "attempt": attempt, "seq": seq},
    )
    return [rows.event(row) for row in found]


async def unfinished_after(tx: Tx, run: int, name: str, limit: int) -> list[Action]:
    """The actions of a run that have not ended, in the order of their names, behind a name."""
    found = await tx.all(
        f"{SELECT} WHERE a.run = :run AND a.name > :name AND a.phase NOT IN ({_TERMINAL}) ORDER BY a.name LIMIT :limit",
        {"run": run, "name": name, "limit": limit},
    )
    return [rows.action(row) for row in found]


def beginning(new: NewAction, attempt: int, now: datetime) -> list[Event]:
    """What an attempt begins with; of a trace, which is told of when it is over, both its ends."""
    if new.phase is Phase.RECOVERED:
        uri = new.output_uri if new.kind is Kind.TRACE else f"{new.output_uri}/outputs.pb"
        return [Event(new.name, attempt, Phase.RECOVERED, 0, now, output_uri=uri)]
    began = Event(new.name, attempt, Phase.RUNNING if new.phase.terminal else new.phase, 0, new.started_at or now)
    if not new.phase.terminal:
        return [began]
    ended = replace(began, phase=new.phase, at=new.ended_at or now, failure=new.failure, output_uri=new.output_uri)
    return [began, ended]


async def insert(tx: Tx, run: int, new: NewAction, *, parent_attempt: int, spec: bytes, now: datetime) -> None:
    """Write a new action and its first events. ``spec`` is the digest of a stored spec."""
    seq = 0
    for event in beginning(new, 1, now):
        seq = await _append(tx, run, event, now)
    await tx.execute(INSERT, values(run, new, seq, parent_attempt, spec, now))
    if new.name == ROOT:
        await _tell_run(tx, run, new.phase, new.task)
    tx.touch([Change(run, new.name, new.parent or "", new.phase)])
    await outbox.due(tx, notice.of_new(run, new), now)


INSERT = """
    INSERT INTO actions VALUES (
        :run, :name, :parent, :kind, :grp, :phase, 1, 0, :seq, :parent_attempt, :created_at,
        :created_at, :started_at, :ended_at,
        :now, NULL, 0, 0, 0, '', :input_uri, :output_uri, :base_uri, :failure, :policy, :spec,
        :task_project, :task_domain, :task_name, :task_version, :task_type, :short_name, :environment,
        :hosted, :queue, :cache_key, 0, :recovered_from, :value, :by)
"""


def values(run: int, new: NewAction, seq: int, parent_attempt: int, spec: bytes, now: datetime) -> dict[str, Any]:
    """A new action for `INSERT`. ``seq`` is that of its last event."""
    return {
        "run": run,
        "name": new.name,
        "parent": new.parent,
        "kind": int(new.kind),
        "grp": new.group,
        "phase": int(new.phase),
        "seq": seq,
        "parent_attempt": parent_attempt,
        "created_at": rows.micros(new.started_at or now),
        "started_at": rows.micros_or_none(new.started_at),
        "ended_at": rows.micros_or_none((new.ended_at or now) if new.phase.terminal else None),
        "now": rows.micros(now),
        "input_uri": new.input_uri,
        "output_uri": new.output_uri,
        "base_uri": new.base_uri,
        "failure": rows.failure_text(new.failure),
        "policy": rows.policy_text(new.policy),
        "spec": spec,
        "task_project": new.task.project,
        "task_domain": new.task.domain,
        "task_name": new.task.name,
        "task_version": new.task.version,
        "task_type": new.task.type,
        "short_name": new.task.short_name,
        "environment": new.task.environment,
        "hosted": int(new.hosted),
        "queue": new.queue,
        "cache_key": new.cache_key,
        "recovered_from": new.recovered_from,
        "value": new.value,
        "by": new.by,
    }


async def advance(tx: Tx, old: Action, new: Action, happened: Sequence[Event], now: datetime) -> Action:
    """Append what happened and replace the row by ``new``, whose version is counted here, in each attempt from 0.

    Raises:
        Stale: the row is no longer ``old`` (another attempt, or another version): look again.
    """
    seq = old.seq
    version = old.version if new.attempt == old.attempt else 0
    for event in happened:
        version = version + 1 if event.attempt == old.attempt else 0
        seq = await _append(tx, old.run_key, event, now)
    new = replace(new, seq=seq, version=version)
    changed = await tx.execute(
        """
        UPDATE actions SET phase = :phase, attempt = :attempt, version = :version, seq = :seq,
            parent_attempt = :parent_attempt, queued_at = :queued_at, started_at = :started_at,
            ended_at = :ended_at, updated_at = :now,
            not_before = :not_before, user_failures = :user_failures, system_failures = :system_failures,
            logged = :logged, abort_reason = :abort_reason, output_uri = :output_uri, failure = :failure,
            cache_status = :cache_status, recovered_from = :recovered_from, value = :value, told_by = :by
        WHERE run = :run AND name = :name AND attempt = :old_attempt AND version = :old_version
        """,
        _columns(new) | {"now": rows.micros(now), "old_attempt": old.attempt, "old_version": old.version},
    )
    if not changed:
        raise Stale(f"{old.id} has moved on")
    if new.id.name == ROOT and new.phase is not old.phase:
        await _tell_run(tx, new.run_key, new.phase, new.task)
    tx.touch([Change(new.run_key, new.id.name, new.parent or "", new.phase)])
    if (new.phase, new.attempt) != (old.phase, old.attempt):
        await outbox.due(tx, notice.of(new), now)
    return new


async def append(tx: Tx, action: Action, event: Event, now: datetime) -> None:
    """Append an event that changes nothing but the attempt's story (notes, a late report), and what ``action`` has."""
    seq = await _append(tx, action.run_key, event, now)
    await tx.execute(
        """
        UPDATE actions SET seq = :seq, updated_at = :now, logged = :logged, started_at = :started_at
        WHERE run = :run AND name = :name
        """,
        {
            "seq": seq,
            "now": rows.micros(now),
            "logged": int(action.logged),
            "started_at": rows.micros_or_none(action.started_at),
            "run": action.run_key,
            "name": action.id.name,
        },
    )
    tx.touch([Change(action.run_key, action.id.name, action.parent or "", action.phase)])


async def _tell_run(tx: Tx, run: int, phase: Phase, task: TaskRef) -> None:
    """What lists need of the root stands in the run's own row."""
    await tx.execute(
        """
        UPDATE runs SET phase = :phase, task_project = :project, task_domain = :domain, task_name = :name,
            task_version = :version
        WHERE key = :run
        """,
        {
            "run": run,
            "phase": int(phase),
            "project": task.project,
            "domain": task.domain,
            "name": task.name,
            "version": task.version,
        },
    )


async def _append(tx: Tx, run: int, event: Event, now: datetime) -> int:
    row = await tx.one("UPDATE runs SET seq = seq + 1 WHERE key = :run RETURNING seq", {"run": run})
    assert row is not None, "an event belongs to a run that exists"
    seq: int = row["seq"]
    await tx.execute(INSERT_EVENT, event_values(run, seq, event, now))
    return seq


INSERT_EVENT = "INSERT INTO events VALUES (:run, :seq, :action, :attempt, :phase, :version, :at, :detail)"


def event_values(run: int, seq: int, event: Event, now: datetime) -> dict[str, Any]:
    """An event for `INSERT_EVENT`."""
    return {
        "run": run,
        "seq": seq,
        "action": event.action,
        "attempt": event.attempt,
        "phase": int(event.phase),
        "version": event.version,
        "at": rows.micros(event.at),
        "detail": rows.event_detail(event),
    }


def _columns(action: Action) -> dict[str, Any]:
    return {
        "run": action.run_key,
        "name": action.id.name,
        "phase": int(action.phase),
        "attempt": action.attempt,
        "version": action.version,
        "seq": action.seq,
        "parent_attempt": action.parent_attempt,
        "queued_at": rows.micros(action.queued_at),
        "started_at": rows.micros_or_none(action.started_at),
        "ended_at": rows.micros_or_none(action.ended_at),
        "not_before": rows.micros_or_none(action.not_before),
        "user_failures": action.user_failures,
        "system_failures": action.system_failures,
        "logged": int(action.logged),
        "abort_reason": action.abort_reason,
        "output_uri": action.output_uri,
        "failure": rows.failure_text(action.failure),
        "cache_status": int(action.cache_status),
        "recovered_from": action.recovered_from,
        "value": action.value,
        "by": action.by,
    }
