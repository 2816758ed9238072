"""A TaskAction's status, both ways. Equal states make equal statuses: one write per real change is enough."""

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from alula.core.taskaction import Cause, Container, Link, Pod, Stage, State

_MESSAGE = 32000  # bytes of a condition's message; the schema refuses more than 32768 characters
_NOTE = 1000  # bytes
_NOTES, _HISTORY, _PODS, _LINKS = 50, 50, 100, 50  # the last ones are kept
_CONTAINERS = 20  # of a pod; the first ones are kept
HANDLE = 100_000  # bytes of what a plugin finds a job by; with its spec it has to fit etcd
_FORM = 1  # of what a plugin keeps: bytes of its own
_URI = 2000  # bytes; a longer one is left out

# The reasons of upstream's conditions (executor/api/v1/taskaction_types.go) have no word for a lack of room.
_REASONS = {Stage.WAITING: "Queued"}


def cut(text: str, most: int) -> str:
    """At most so many bytes of a text, whole characters; what is left out is left out of the middle."""
    data = text.encode(errors="replace")
    if len(data) <= most:
        return data.decode()
    mark = " [...] "
    half = (most - len(mark)) // 2
    return data[:half].decode(errors="ignore") + mark + data[-half:].decode(errors="ignore")


def status(old: Mapping[str, Any], state: State, attempt: int, now: datetime) -> dict[str, Any]:
    """The status that says this. ``old`` is the one that it replaces: what has not changed keeps its times."""
    message = cut(state.cause.message if state.cause else state.reason, _MESSAGE)
    history = list(old.get("phaseHistory") or [])
    if not history or history[-1]["phase"] != state.stage.value:
        history.append({"phase": state.stage.value, "occurredAt": _stamp(now), "message": cut(state.reason, _NOTE)})
    told: dict[str, Any] = {
        "attempts": attempt,
        "pluginPhase": state.stage.value,
        "conditions": _conditions(old.get("conditions") or [], state.stage, message, now),
        "phaseHistory": history[-_HISTORY:],
    }
    if state.cause is not None:
        told["errorState"] = {
            "code": cut(state.cause.code, _NOTE),
            "kind": "SYSTEM" if state.cause.system else "USER",
            "message": message,
        }
        told["recoverable"] = state.cause.recoverable
    if state.handle:
        told |= {"pluginState": b64encode(state.handle).decode(), "pluginStateVersion": _FORM}
    seen = {
        "startedAt": state.started_at and _stamp(state.started_at),
        "endedAt": state.ended_at and _stamp(state.ended_at),
        "exitCode": state.exit_code,
        "reason": cut(state.reason, _NOTE) or None,
        "pods": [_pod(pod) for pod in state.pods[-_PODS:]] or None,
        "links": [_link(link) for link in state.links[-_LINKS:] if len(link.uri.encode()) <= _URI] or None,
        "notes": [cut(note, _NOTE) for note in state.notes[-_NOTES:]] or None,
    }
    return told | {key: value for key, value in seen.items() if value is not None}


def read_state(found: Mapping[str, Any]) -> State | None:
    """What a status says; ``None``: nothing yet."""
    if "pluginPhase" not in found:
        return None
    error = found.get("errorState") or {}
    return State(
        stage=Stage(found["pluginPhase"]),
        reason=found.get("reason", ""),
        cause=Cause(error["code"], error["message"], error.get("kind") == "SYSTEM", found.get("recoverable", True))
        if error
        else None,
        started_at=_time(found.get("startedAt")),
        ended_at=_time(found.get("endedAt")),
        exit_code=found.get("exitCode"),
        pods=tuple(_read_pod(pod) for pod in found.get("pods", ())),
        links=tuple(Link(link["name"], link["uri"]) for link in found.get("links", ())),
        notes=tuple(found.get("notes", ())),
        handle=b64decode(found["pluginState"]) if found.get("pluginStateVersion") == _FORM else b"",
    )


def _conditions(old: Sequence[Mapping[str, Any]], stage: Stage, message: str, now: datetime) -> list[dict[str, Any]]:
    reason = _REASONS.get(stage, stage.value)
    wanted = [("Progressing", not stage.over)]
    if stage.over:
        wanted.append(("Succeeded" if stage is Stage.SUCCEEDED else "Failed", True))
    known = {condition["type"]: condition for condition in old}
    made = []
    for kind, true in wanted:
        truth = "True" if true else "False"
        before = known.get(kind)
        since = before["lastTransitionTime"] if before and before["status"] == truth else _seconds(now)
        made.append({"type": kind, "status": truth, "reason": reason, "message": message, "lastTransitionTime": since})
    return made


def _link(link: Link) -> dict[str, Any]:
    return {"name": cut(link.name, _NOTE), "uri": link.uri}


def _pod(pod: Pod) -> dict[str, Any]:
    containers = []
    for one in pod.containers[:_CONTAINERS]:
        told: dict[str, Any] = {"name": one.name}
        if one.init:
            told["init"] = True
        if one.started_at:
            told["startedAt"] = _stamp(one.started_at)
        if one.ended_at:
            told["endedAt"] = _stamp(one.ended_at)
        if one.restarts:
            told["restarts"] = one.restarts
        containers.append(told)
    return {"name": pod.name, "namespace": pod.namespace, "primary": pod.primary, "containers": containers}


def _read_pod(found: Mapping[str, Any]) -> Pod:
    containers = tuple(
        Container(
            one["name"],
            one.get("init", False),
            _time(one.get("startedAt")),
            _time(one.get("endedAt")),
            one.get("restarts", 0),
        )
        for one in found.get("containers", ())
    )
    return Pod(found["name"], found["namespace"], containers, found.get("primary", ""))


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _seconds(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
