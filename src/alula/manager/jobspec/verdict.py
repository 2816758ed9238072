"""An operator's word on its job and the states of the job's pods, weighed: what is to be seen of the attempt.

An operator often says late, or never, that a pod cannot start, and seldom why one failed: its pods know.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import chain

from alula.core.taskaction import Cause, Link, Stage, State
from alula.kube.objects import Object
from alula.manager.jobspec.roles import own, role_of
from alula.manager.plugins.base import Seen, Task
from alula.manager.podspec.observe import DELETED, OUT_OF_MEMORY, observe
from alula.manager.podspec.statuses import instant

_UNHEARD = timedelta(minutes=1)  # an operator that is there says something within seconds
_MOST = 100  # pods that a status tells of
_NEVER_STARTED, _CRASHED = "ContainersNotReady|", "CrashLoopBackOff"
_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Report:
    """What an operator says of its job. ``QUEUED`` without a reason: nothing."""

    stage: Stage
    reason: str = ""
    cause: Cause | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    links: Sequence[Link] = ()


@dataclass(frozen=True, slots=True)
class _Member:
    """A pod of the job, and what is to be seen of it alone."""

    name: str
    lead: bool
    seen: Seen
    restarts: bool  # its containers are started again where it is
    leaving: bool  # it was deleted, as operators do with pods that are not needed any more

    @property
    def state(self) -> State:
        return self.seen.state


def failure(message: str, code: str, *, system: bool = False, recoverable: bool = True) -> Report:
    """A job that failed, as its operator says."""
    return Report(Stage.FAILED, message, Cause(code, message, system=system, recoverable=recoverable))


def weighed(
    task: Task, job: Object, report: Report, parts: Iterable[Object], now: datetime, leads: Sequence[str]
) -> Seen:
    """What is to be seen of an attempt that is a job.

    ``leads`` are the roles of which one failing pod fails the job; their pods come first, in that order. Of any role,
    a pod that can never start fails it, as the job would wait for it for ever. ``parts`` that are not of this attempt
    are passed over.
    """
    members = _members(task, parts, now, leads)
    told = report
    if not report.stage.over:
        told = _doomed(report, members) or _hinted(_waiting(report, members), job, now)
    elif report.cause is not None:
        told = _explained(report, members)
    begun = told.stage is Stage.RUNNING or told.stage.over
    state = State(
        stage=told.stage,
        reason=told.reason,
        cause=told.cause,
        started_at=(told.started_at or _first(m.state.started_at for m in members)) if begun else None,
        ended_at=(told.ended_at or _last(m.state.ended_at for m in members) or now) if told.stage.over else None,
        exit_code=_exit_code(told, members),
        pods=tuple(chain.from_iterable(m.state.pods for m in members[:_MOST])),
        links=tuple(told.links),
    )
    return Seen(state, None if told.stage.over else _look_again(report, members, job, now))


def _members(task: Task, parts: Iterable[Object], now: datetime, leads: Sequence[str]) -> list[_Member]:
    order = {role: place for place, role in enumerate(leads)}
    pods = own(task, parts)
    pods.sort(key=lambda pod: (order.get(role_of(pod), len(order)), _natural(pod["metadata"]["name"])))
    return [
        _Member(
            name=pod["metadata"]["name"],
            lead=role_of(pod) in order,
            seen=observe(pod, task.settings, now),
            restarts=(pod.get("spec") or {}).get("restartPolicy", "Always") != "Never",
            leaving="deletionTimestamp" in pod["metadata"],
        )
        for pod in pods
    ]


def _natural(name: str) -> tuple[int, str]:
    """``worker-2`` goes before ``worker-10``."""
    return len(name), name


def _doomed(report: Report, members: Iterable[_Member]) -> Report | None:
    """The end of a job that its operator still hopes for."""
    for member in members:
        cause = member.state.cause
        if cause is None or member.leaving:
            continue
        unstarted = cause.code.startswith(_NEVER_STARTED) or cause.code == "PodPendingTimeout"
        if member.restarts and (not unstarted or _CRASHED in cause.code):
            continue
        if unstarted or member.lead:
            text = f"the pod {member.name}: {cause.message}"
            found = replace(cause, message=text)
            return Report(Stage.FAILED, text, found, report.started_at, member.state.ended_at)
    return None


def _waiting(report: Report, members: Iterable[_Member]) -> Report:
    """What the job waits for, as its pods know."""
    early = report.stage in (Stage.QUEUED, Stage.INITIALIZING)
    waits = [m for m in members if m.state.stage is Stage.WAITING and not m.leaving]
    begins = [m for m in members if m.state.stage is Stage.INITIALIZING and m.state.reason and not m.leaving]
    found = next(iter([*waits, *begins] if early else waits), None)
    if found is None:
        return report
    stage = found.state.stage if early else report.stage
    return replace(report, stage=stage, reason=f"the pod {found.name}: {found.state.reason}")


def _hinted(report: Report, job: Object, now: datetime) -> Report:
    if report.stage is Stage.QUEUED and not report.reason and now >= _heard_until(job, now):
        text = f"nobody has taken up this {job.get('kind', 'job')} yet; is its operator running?"
        return replace(report, reason=text)
    return report


def _heard_until(job: Object, now: datetime) -> datetime:
    return (instant(job["metadata"].get("creationTimestamp")) or now) + _UNHEARD


def _explained(report: Report, members: Iterable[_Member]) -> Report:
    """A failure with its reason: the first pod that failed, if the operator does not know better.

    Pods that fail later, and those that the operator deletes, do so because of the first. What ran out of memory is
    told whichever role it had.
    """
    cause = report.cause
    if cause is None or cause.system or not cause.recoverable:
        return report
    failed = [
        (member.state.ended_at or _NEVER, member.name, member.state.cause)
        for member in members
        if member.state.cause is not None
        and member.state.cause.code != DELETED
        and (member.lead or member.state.cause.code == OUT_OF_MEMORY)
    ]
    if not failed:
        return report
    _, name, found = min(failed, key=lambda one: one[:2])
    text = f"{cause.message}; the pod {name}: {found.message}"
    return replace(report, reason=text, cause=replace(found, message=text))


def _exit_code(report: Report, members: Iterable[_Member]) -> int | None:
    if not report.stage.over:
        return None
    codes = [m.state.exit_code for m in members if m.lead and m.state.exit_code is not None]
    wrong = [code for code in codes if code != 0]
    return wrong[0] if wrong and report.cause is not None else codes[0] if codes else None


def _look_again(report: Report, members: Iterable[_Member], job: Object, now: datetime) -> datetime | None:
    times = [m.seen.look_again for m in members if not m.leaving]
    if report.stage is Stage.QUEUED and not report.reason and now < _heard_until(job, now):
        times.append(_heard_until(job, now))
    return _first(times)


def _first(times: Iterable[datetime | None]) -> datetime | None:
    return min(filter(None, times), default=None)


def _last(times: Iterable[datetime | None]) -> datetime | None:
    return max(filter(None, times), default=None)
