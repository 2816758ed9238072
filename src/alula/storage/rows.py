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


def action(row: Row) -> Action:
    """A row of `actions` joined with its run's name (see `actions.SELECT`)."""
    return Action(
        run_key=row["run"],
        id=ActionId(RunId(row["project"], row["domain"], row["run_name"]), row["name"]),
        org=row["org"],
        labels=labels(row["labels"]),
        relation=row["relation"],
        parent=row["parent"],
        kind=Kind(row["kind"]),
        group=row["grp"],
        phase=Phase(row["phase"]),
        attempt=row["attempt"],
        version=row["version"],
        seq=row["seq"],
        parent_attempt=row["parent_attempt"],
        created_at=time(row["created_at"]),
        queued_at=time(row["queued_at"]),
        started_at=time_or_none(row["started_at"]),
        ended_at=time_or_none(row["ended_at"]),
        not_before=time_or_none(row["not_before"]),
        user_failures=row["user_failures"],
        system_failures=row["system_failures"],
        logged=bool(row["logged"]),
        abort_reason=row["abort_reason"],
        input_uri=row["input_uri"],
        output_uri=row["output_uri"],
        base_uri=row["base_uri"],
        failure=failure(row["failure"]),
        policy=policy(row["policy"]),
        task=TaskRef(
            project=row["task_project"],
            domain=row["task_domain"],
            name=row["task_name"],
            version=row["task_version"],
            type=row["task_type"],
            short_name=row["short_name"],
            environment=row["environment"],
        ),
        spec=row["spec"],
        hosted=bool(row["hosted"]),
        queue=row["queue"],
        cache_key=row["cache_key"],
        cache_status=CacheStatus(row["cache_status"]),
        recovered_from=row["recovered_from"],
        value=row["value"],
        by=row["told_by"],
        source=row["source"],
        created_by=row["created_by"],
        max_concurrency=row["max_concurrency"],
        recovers=row["recovers"],
        overwrite_cache=bool(row["overwrite_cache"]),
        cache_everywhere=bool(row["cache_everywhere"]),
        trigger=fired_by(row),
    )


def fired_by(row: Row) -> FiredBy:
    """Which trigger made a run, from its row."""
    if not row["trigger_name"]:
        return BY_NOBODY
    return FiredBy(row["trigger_task"], row["trigger_name"], row["trigger_revision"], row["trigger_type"])


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
