"""Actions and their events. Every change of a row appends the event that says why, in the same transaction."""

import itertools
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from alula.core import notice
from alula.core.action import Action, Event, Kind, NewAction, TaskRef, Unfinished
from alula.core.errors import Stale
from alula.core.ids import ROOT, ActionId, RunId
from alula.core.lease import SHARDS
from alula.core.phase import TERMINAL, Phase
from alula.core.progress import Progress
from alula.storage import outbox, rows
from alula.storage.changes import Change
from alula.storage.database import Tx, Values

T = TypeVar("T")
_SOME = 256  # that one statement asks for

SELECT = f"SELECT {rows.ACTION} /*keys*/ FROM actions a JOIN runs r ON r.key = a.run "  # noqa: S608
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


async def find_some(tx: Tx, run: RunId, names: Collection[str]) -> dict[str, Action]:
    """Those actions of a run that there are, by their names."""
    found: dict[str, Action] = {}
    for some in _chunks(names):
        among, values = _among(some)
        listed = await tx.all(
            SELECT
            + "WHERE r.project = :project AND r.domain = :domain AND r.name = :run AND r.deleting = 0"
            + f" AND a.name IN ({among})",
            {"project": run.project, "domain": run.domain, "run": run.name} | values,
        )
        found |= {row["name"]: rows.action(row) for row in listed}
    return found


async def parents(tx: Tx, run: int, names: Collection[str]) -> set[str]:
    """Those actions that have children."""
    found = set()
    for some in _chunks(names):
        among, values = _among(some)
        listed = await tx.all(
            f"""
            SELECT a.name FROM actions a WHERE a.run = :run AND a.name IN ({among})
                AND EXISTS (SELECT 1 FROM actions c WHERE c.run = a.run AND c.parent = a.name)
            """,  # noqa: S608
            {"run": run} | values,
        )
        found |= {row["name"] for row in listed}
    return found


def _chunks(items: Collection[T]) -> Iterator[list[T]]:
    """Some at a time, filled up by repetition: there are few lengths, so that statements for them are prepared once."""
    left = iter(items)
    while some := list(itertools.islice(left, _SOME)):
        yield some + some[-1:] * ((1 << (len(some) - 1).bit_length()) - len(some))


def _among(names: Sequence[str]) -> tuple[str, dict[str, str]]:
    values = {f"n{i}": name for i, name in enumerate(names)}
    return ", ".join(f":{name}" for name in values), values


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


async def queue(tx: Tx, after: tuple[int, str], limit: int, shards: Collection[int] | None = None) -> list[Unfinished]:
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


class Told(NamedTuple):
    """What tells events of a run apart."""

    action: str
    attempt: int
    phase: Phase
    version: int
    at: datetime


def telling(event: Event) -> Told:
    return Told(event.action, event.attempt, event.phase, event.version, event.at)


async def told(tx: Tx, run: int, asked: Collection[Told]) -> set[Told]:
    """Those of some events of a run that were told before."""
    found = set()
    for some in _chunks(asked):
        values = {f"{name}{i}": value for i, one in enumerate(some) for name, value in _told_values(one).items()}
        listed = await tx.all(
            f"""
            WITH asked (action, attempt, phase, version, at) AS (VALUES {_asked(len(some))})
            SELECT e.action, e.attempt, e.phase, e.version, e.at FROM asked CROSS JOIN events e
            WHERE e.run = :run AND e.action = asked.action AND e.attempt = asked.attempt
                AND e.phase = asked.phase AND e.version = asked.version AND e.at = asked.at
            """,  # noqa: S608
            {"run": run} | values,
        )
        found |= {Told(name, tried, Phase(phase), version, rows.time(at)) for name, tried, phase, version, at in listed}
    return found


def _told_values(one: Told) -> dict[str, Any]:
    return {"n": one.action, "t": one.attempt, "p": int(one.phase), "v": one.version, "at": rows.micros(one.at)}


@lru_cache
def _asked(count: int) -> str:
    numbers = ", ".join(f"CAST(:{name}{{0}} AS BIGINT)" for name in ("t", "p", "v", "at"))
    return ", ".join(f"(CAST(:n{i} AS TEXT), {numbers.format(i)})" for i in range(count))


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


class Beginning(NamedTuple):
    """A new action of a run. The parent's ``parent_attempt`` asked for it; ``spec`` is the digest of a stored spec."""

    run: int
    new: NewAction
    parent_attempt: int
    spec: bytes


async def insert(tx: Tx, run: int, new: NewAction, *, parent_attempt: int, spec: bytes, now: datetime) -> None:
    """Write a new action and its first events. ``spec`` is the digest of a stored spec."""
    await insert_some(tx, [Beginning(run, new, parent_attempt, spec)], now)


async def insert_some(tx: Tx, begun: Sequence[Beginning], now: datetime) -> None:
    """Write new actions, of any runs, and their first events."""
    if not begun:
        return
    last = await _append(tx, [(one.run, event) for one in begun for event in beginning(one.new, 1, now)], now)
    await tx.many(INSERT, [values(*one[:2], last[one.run, one.new.name], *one[2:], now) for one in begun])
    for run, new, _, _ in begun:
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
    """Append what happened and replace the row by ``new``, whose version is counted here (`Progress.version`).

    Raises:
        Stale: the row is no longer ``old`` (another attempt, or another version): look again.
    """
    step = Progress(old, new, tuple(happened))
    last = await _append(tx, [(old.run_key, event) for event in happened], now)
    seq = last.get((old.run_key, old.id.name), old.seq)
    if not await tx.execute(_UPDATE, _columns(step, old, seq, now)):
        raise Stale(f"{old.id} has moved on")
    await _tell(tx, step, now)
    return replace(new, version=step.version, seq=seq)


async def write(tx: Tx, steps: Sequence[Progress], now: datetime) -> None:
    """Write the steps of many actions, in their order, some of which may be of the same one.

    The rows were read in this transaction, so that none of them is stale.
    """
    if not steps:
        return
    last = await _append(tx, [(step.old.run_key, event) for step in steps for event in step.happened], now)
    first: dict[tuple[int, str], Action] = {}
    rows_after: dict[tuple[int, str], Values] = {}
    for step in steps:
        key = step.old.run_key, step.old.id.name
        old = first.setdefault(key, step.old)
        rows_after[key] = _columns(step, old, last[key], now)
    await tx.many(_UPDATE, list(rows_after.values()))
    for step in steps:
        await _tell(tx, step, now)


_UPDATE = """
    UPDATE actions SET phase = :phase, attempt = :attempt, version = :version, seq = :seq,
        parent_attempt = :parent_attempt, queued_at = :queued_at, started_at = :started_at,
        ended_at = :ended_at, updated_at = :now,
        not_before = :not_before, user_failures = :user_failures, system_failures = :system_failures,
        logged = :logged, abort_reason = :abort_reason, output_uri = :output_uri, failure = :failure,
        cache_status = :cache_status, recovered_from = :recovered_from, value = :value, told_by = :by
    WHERE run = :run AND name = :name AND attempt = :old_attempt AND version = :old_version
"""


async def append(tx: Tx, action: Action, event: Event, now: datetime) -> None:
    """Append an event that is no step of an action whose row was read in this transaction (`Progress.noted`)."""
    await write(tx, [Progress(action, action, (event,), noted=True)], now)


async def _tell(tx: Tx, step: Progress, now: datetime) -> None:
    """Tell of a step whoever wants to know."""
    new = step.new
    if new.id.name == ROOT and new.phase is not step.old.phase:
        await _tell_run(tx, new.run_key, new.phase, new.task)
    tx.touch([Change(new.run_key, new.id.name, new.parent or "", new.phase)])
    if step.moved:
        await outbox.due(tx, notice.of(new), now)


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


async def _append(tx: Tx, happened: Sequence[tuple[int, Event]], now: datetime) -> dict[tuple[int, str], int]:
    """Append events of runs, in their order; of each action the number of its last one."""
    free = {}
    for run, count in Counter(run for run, _ in happened).items():
        row = await tx.one(
            "UPDATE runs SET seq = seq + :count WHERE key = :run RETURNING seq", {"run": run, "count": count}
        )
        assert row is not None, "an event belongs to a run that exists"
        free[run] = itertools.count(row["seq"] - count + 1)
    numbered = [(run, next(free[run]), event) for run, event in happened]
    await tx.many(INSERT_EVENT, [event_values(run, seq, event, now) for run, seq, event in numbered])
    return {(run, event.action): seq for run, seq, event in numbered}


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


def _columns(step: Progress, old: Action, seq: int, now: datetime) -> Values:
    """A row for `_UPDATE`, in the place of ``old``."""
    action = step.new
    return {
        "run": action.run_key,
        "name": action.id.name,
        "old_attempt": old.attempt,
        "old_version": old.version,
        "now": rows.micros(now),
        "phase": int(action.phase),
        "attempt": action.attempt,
        "version": step.version,
        "seq": seq,
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
