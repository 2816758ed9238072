"""A pod's status, read: which container is where. No judgement."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from alula.core.taskaction import Container
from alula.kube.objects import Object

PRIMARY_ANNOTATION = "primary_container_name"


@dataclass(frozen=True, slots=True)
class End:
    """How a container ended. ``message`` is what it left as its last words."""

    code: int
    reason: str
    message: str
    started_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Part:
    """A container of a pod. ``waiting`` is the reason why it has not started, ``message`` the kubelet's text on it.

    ``sidecar``: an init container that runs beside the others. Neither running, waiting nor ended: not heard of yet.
    """

    name: str
    init: bool
    sidecar: bool = False
    waiting: str | None = None
    message: str = ""
    running_since: datetime | None = None
    running: bool = False
    end: End | None = None
    before: End | None = None  # how it ended the last time, if it was started again
    restarts: int = 0

    @property
    def ends(self) -> tuple[End | None, End | None]:
        """How it ended, and how the time before: as far as it did."""
        return self.end, self.before


@dataclass(frozen=True, slots=True)
class Reading:
    """A pod as it says of itself. ``primary`` is the name of the container that it is about."""

    name: str
    namespace: str
    phase: str
    reason: str
    message: str
    primary: str
    parts: Sequence[Part]
    created_at: datetime | None
    deleted_at: datetime | None  # when whoever deleted it wants it to be gone
    deletion_grace: float  # seconds before that it was deleted
    conditions: Mapping[str, Mapping[str, Any]]

    @property
    def main(self) -> Part | None:
        return next((part for part in self.parts if part.name == self.primary), None)

    def part(self, name: str) -> Part | None:
        return next((part for part in self.parts if part.name == name), None)

    def holds(self, condition: str, status: str = "True") -> Mapping[str, Any] | None:
        """A condition, if it has that status."""
        found = self.conditions.get(condition)
        return found if found is not None and found.get("status") == status else None

    def containers(self) -> tuple[Container, ...]:
        """The containers that have, or had, a log."""
        return tuple(
            Container(
                part.name,
                init=part.init,
                started_at=part.end.started_at if part.end else part.running_since,
                ended_at=part.end.ended_at if part.end else None,
                restarts=part.restarts,
            )
            for part in map(_last_life, self.parts)
            if part.running or part.end
        )


def read(pod: Object, primary: str = "") -> Reading:
    """Read a pod. ``primary``, if its annotation does not name it; else its first container."""
    meta, spec, status = pod["metadata"], pod.get("spec") or {}, pod.get("status") or {}
    first = next((one["name"] for one in spec.get("containers") or ()), "")
    return Reading(
        name=meta["name"],
        namespace=meta.get("namespace", ""),
        phase=status.get("phase") or "Pending",
        reason=status.get("reason") or "",
        message=status.get("message") or "",
        primary=primary or (meta.get("annotations") or {}).get(PRIMARY_ANNOTATION) or first,
        parts=tuple(_parts(spec, status)),
        created_at=instant(meta.get("creationTimestamp")),
        deleted_at=instant(meta.get("deletionTimestamp")),
        deletion_grace=float(meta.get("deletionGracePeriodSeconds") or 0),
        conditions={one["type"]: one for one in status.get("conditions") or ()},
    )


def instant(text: str | None) -> datetime | None:
    """A time of Kubernetes'. The kubelet says 1970 of what it does not know."""
    found = datetime.fromisoformat(text) if text else None
    return found if found is not None and found.year > 1970 else None


def _last_life(part: Part) -> Part:
    """One that waits to be started again has a log: that of its last time."""
    return part if part.end or part.running or not part.before else replace(part, end=part.before)


def _parts(spec: Mapping[str, Any], status: Mapping[str, Any]) -> Iterator[Part]:
    """In the order in which they start; also those that the kubelet has not told of yet."""
    for init, declared, told in (
        (True, "initContainers", "initContainerStatuses"),
        (False, "containers", "containerStatuses"),
    ):
        told_of = {one["name"]: one for one in status.get(told) or ()}
        for one in spec.get(declared) or ():
            sidecar = init and one.get("restartPolicy") == "Always"
            yield _part(Part(one["name"], init, sidecar), told_of.get(one["name"], {}))


def _part(part: Part, told: Mapping[str, Any]) -> Part:
    state = told.get("state") or {}
    before = _end((told.get("lastState") or {}).get("terminated"))
    waiting, running, end = state.get("waiting"), state.get("running"), _end(state.get("terminated"))
    part = replace(part, before=before, restarts=int(told.get("restartCount") or 0))
    if end is not None:
        return replace(part, end=end)
    if running is not None:
        return replace(part, running=True, running_since=instant(running.get("startedAt")))
    if waiting is not None:
        reason, message = waiting.get("reason") or "", waiting.get("message") or ""
        return replace(part, waiting=reason, message=message)
    return part


def _end(told: Mapping[str, Any] | None) -> End | None:
    if told is None:
        return None
    return End(
        code=int(told.get("exitCode", 0)),
        reason=told.get("reason") or "",
        message=(told.get("message") or "").strip(),
        started_at=instant(told.get("startedAt")),
        ended_at=instant(told.get("finishedAt")),
    )
