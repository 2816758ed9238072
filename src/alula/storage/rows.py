"""Between rows and the values of `core`. Nothing here decides."""

import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from alula.core.action import (
    Action,
    Blame,
    CacheStatus,
    Event,
    Failure,
    Kind,
    Link,
    Note,
    Policy,
    TaskRef,
    Unfinished,
)
from alula.core.ids import ActionId, RunId
from alula.core.phase import Phase
from alula.core.trigger import BY_NOBODY, FiredBy
from alula.storage.database import Row

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def micros(at: datetime) -> int:
    """A time as it is stored: whole microseconds since the epoch."""
    return (at - _EPOCH) // _MICROSECOND


def micros_or_none(at: datetime | None) -> int | None:
    return None if at is None else micros(at)


def time(value: int) -> datetime:
    return _EPOCH + timedelta(microseconds=value)


def time_or_none(value: int | None) -> datetime | None:
    return None if value is None else time(value)


def failure_text(failure: Failure | None) -> str | None:
    return None if failure is None else json.dumps(asdict(failure))


def failure(text: str | None) -> Failure | None:
    if text is None:
        return None
    fields = json.loads(text)
    return Failure(**(fields | {"blame": Blame(fields["blame"])}))


@lru_cache(maxsize=1024)  # there are few, and each is asked for with every row
def policy_text(value: Policy) -> str:
    return json.dumps(asdict(value))


@lru_cache(maxsize=1024)
def policy(text: str) -> Policy:
    return Policy(**json.loads(text))


def labels_text(value: Mapping[str, str]) -> str:
    return json.dumps(dict(value), sort_keys=True)


@lru_cache(maxsize=1024)
def labels(text: str) -> Mapping[str, str]:
    return MappingProxyType(json.loads(text))


ACTION = """
    a.run, r.project, r.domain, r.name AS run_name, a.name, r.org, r.labels, r.relation, a.parent, a.kind, a.grp,
    a.phase, a.attempt, a.version, a.seq, a.parent_attempt, a.created_at, a.queued_at, a.started_at, a.ended_at,
    a.not_before, a.user_failures, a.system_failures, a.logged, a.abort_reason, a.input_uri, a.output_uri, a.base_uri,
    a.failure, a.policy, a.task_project, a.task_domain, a.task_name, a.task_version, a.task_type, a.short_name,
    a.environment, a.spec, a.hosted, a.queue, a.cache_key, a.cache_status, a.recovered_from, a.value, a.told_by,
    r.source, r.created_by, r.max_concurrency, r.recovers, r.overwrite_cache, r.cache_everywhere,
    r.trigger_task, r.trigger_name, r.trigger_revision, r.trigger_type
"""
_COLUMNS = ACTION.count(",") + 1


def action(row: Row) -> Action:
    """A row that begins with `ACTION`, of an action and its run. Read by position: by name it takes twice as long."""
    (
        run, project, domain, run_name, name, org, run_labels, relation, parent, kind, group,
        phase, attempt, version, seq, parent_attempt, created_at, queued_at, started_at, ended_at,
        not_before, user_failures, system_failures, logged, abort_reason, input_uri, output_uri, base_uri,
        failed, allowed, task_project, task_domain, task_name, task_version, task_type, short_name,
        environment, spec, hosted, queue, cache_key, cache_status, recovered_from, value, by,
        source, created_by, max_concurrency, recovers, overwrite_cache, cache_everywhere,
        trigger_task, trigger_name, trigger_revision, trigger_type,
    ) = row[:_COLUMNS]  # fmt: skip
    return Action(
        run_key=run,
        id=ActionId(RunId(project, domain, run_name), name),
        org=org,
        labels=labels(run_labels),
        relation=relation,
        parent=parent,
        kind=Kind(kind),
        group=group,
        phase=Phase(phase),
        attempt=attempt,
        version=version,
        seq=seq,
        parent_attempt=parent_attempt,
        created_at=time(created_at),
        queued_at=time(queued_at),
        started_at=time_or_none(started_at),
        ended_at=time_or_none(ended_at),
        not_before=time_or_none(not_before),
        user_failures=user_failures,
        system_failures=system_failures,
        logged=bool(logged),
        abort_reason=abort_reason,
        input_uri=input_uri,
        output_uri=output_uri,
        base_uri=base_uri,
        failure=failure(failed),
        policy=policy(allowed),
        task=TaskRef(task_project, task_domain, task_name, task_version, task_type, short_name, environment),
        spec=spec,
        hosted=bool(hosted),
        queue=queue,
        cache_key=cache_key,
        cache_status=CacheStatus(cache_status),
        recovered_from=recovered_from,
        value=value,
        by=by,
        source=source,
        created_by=created_by,
        max_concurrency=max_concurrency,
        recovers=recovers,
        overwrite_cache=bool(overwrite_cache),
        cache_everywhere=bool(cache_everywhere),
        trigger=_fired_by(trigger_task, trigger_name, trigger_revision, trigger_type),
    )


def fired_by(row: Row) -> FiredBy:
    """Which trigger made a run, from its row."""
    return _fired_by(row["trigger_task"], row["trigger_name"], row["trigger_revision"], row["trigger_type"])


def _fired_by(task: str, name: str, revision: int, automation: bytes) -> FiredBy:
    return FiredBy(task, name, revision, automation) if name else BY_NOBODY


def unfinished(row: Row) -> Unfinished:
    run = RunId(row["project"], row["domain"], row["run_name"])
    return Unfinished(row["run"], ActionId(run, row["name"]), row["attempt"])


def event_detail(event: Event) -> str:
    """What an event says beyond its columns; empty things are left out."""
    detail: dict[str, Any] = {}
    if event.failure is not None:
        detail["failure"] = asdict(event.failure)
    for name in ("output_uri", "report_uri", "logged", "cluster", "cache_status", "cache_source", "reason", "by"):
        if value := getattr(event, name):
            detail[name] = value
    if event.notes:
        detail["notes"] = [[micros(note.at), note.text, *_bytes_text(note.told)] for note in event.notes]
    if event.links:
        detail["links"] = [[link.name, link.uri, *_bytes_text(link.told)] for link in event.links]
    if event.log_context:
        (detail["log_context"],) = _bytes_text(event.log_context)
    return json.dumps(detail)


def _bytes_text(value: bytes) -> list[str]:
    return [b64encode(value).decode()] if value else []


def _text_bytes(told: Iterable[str]) -> list[bytes]:
    return [b64decode(text) for text in told]


def event(row: Row) -> Event:
    detail = json.loads(row["detail"])
    fields = detail.get("failure")
    return Event(
        action=row["action"],
        attempt=row["attempt"],
        phase=Phase(row["phase"]),
        version=row["version"],
        at=time(row["at"]),
        seq=row["seq"],
        failure=Failure(**(fields | {"blame": Blame(fields["blame"])})) if fields else None,
        output_uri=detail.get("output_uri", ""),
        report_uri=detail.get("report_uri", ""),
        logged=detail.get("logged", False),
        cluster=detail.get("cluster", ""),
        notes=tuple(Note(time(at), text, *_text_bytes(told)) for at, text, *told in detail.get("notes", ())),
        links=tuple(Link(name, uri, *_text_bytes(told)) for name, uri, *told in detail.get("links", ())),
        log_context=b64decode(detail.get("log_context", "")),
        cache_status=CacheStatus(detail.get("cache_status", 0)),
        cache_source=detail.get("cache_source", ""),
        reason=detail.get("reason", ""),
        by=detail.get("by", ""),
    )
