"""What to do next about one attempt: a pure function of what is known of it. `controller.py` carries it out.

That an attempt runs at most once rests on two rules. Its status says that it is launched before its object is created,
and never takes that back unless the cluster has said that there is none. And only the Manager that wrote so goes on to
create: one that comes later and finds no object calls the attempt lost, and another attempt follows.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from alula.core.taskaction import KIND, Cause, Pod, Stage, State
from alula.kube.objects import Busy, Conflict, Exists, KubeError, NotFound, Object, owner_of
from alula.manager.plugins.base import Seen

SETTLE = timedelta(seconds=3)  # what changes sooner while nothing runs yet is not worth a write
_PODS = 100  # that a status tells of
NOT_FOUND, LOST = "PluginNotFound", "ResourceDeletedExternally"

# What a cluster answers though it has not begun to do what it was asked.
_REFUSED_FOR_NOW = frozenset({"TooManyRequests", "ServiceUnavailable", "ServerTimeout", "InternalError", "Conflict"})
_UNSURE = "etcdserver"  # in the text of an internal error: it may have been done after all
_CODES = {"Invalid": "InvalidResource", "RequestEntityTooLarge": "EntityTooLarge"}
_HINTS = {
    "Invalid": "correct what is named there: the task's resources, or its PodTemplate",
    "RequestEntityTooLarge": "pass large texts as inputs, and not as arguments or variables",
}
_HINT = "have the task keep to this rule of the cluster, or ask who runs the cluster to change it"
_FOR_ROOM = ("exceeded quota", "cannot create resource")  # others have to end, or the Manager lacks a right
_CHECKED = "Unauthorized"  # the Manager's own credentials: not the task's fault, and mostly over soon


class Tried(StrEnum):
    """What this process knows of its own doing. Another one before it may have done anything."""

    NOTHING = "nothing"
    RECORDED = "recorded"  # it said that the attempt is launched, and was told of each create that it was not done
    UNSURE = "unsure"  # a create had no answer
    CREATED = "created"


@dataclass(frozen=True, slots=True)
class Known:
    """An attempt as it is now. ``found``: its object, or what is in its place.

    ``asked``: the cluster itself has said so, and not a mirror that may be late. ``since``: from when on its plugin has
    seen the same. ``told``: what its object last said of itself.
    """

    uid: str  # of the TaskAction
    state: State  # as its status has it
    going: bool = False  # the TaskAction is being deleted
    tried: Tried = Tried.NOTHING
    found: Object | None = None
    asked: bool = False
    since: datetime | None = None
    told: str = ""


@dataclass(frozen=True, slots=True)
class Launching:
    """Say in its status that it is launched from now on."""

    state: State


@dataclass(frozen=True, slots=True)
class Create:
    """Create its object."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the cluster itself for its object."""


@dataclass(frozen=True, slots=True)
class Report:
    """Write its status."""

    state: State


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete the object that was found, if it still is as it was found."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing, unless something changes, or until then."""

    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """Look again after a while that grows from time to time. ``report``: what to say first.

    ``after``: seconds that the cluster has asked to be left alone for.
    """

    report: State | None = None
    after: float = 0.0


Step = Launching | Create | Ask | Report | Delete | Wait | Retry


def next_step(known: Known, seen: Seen | None, problem: Cause | None, now: datetime) -> Step:
    """What to do. ``seen`` is what its plugin makes of its object, if that is its own; ``problem``: why it has none.

    A ``problem`` is that nothing can be made of the attempt: an unknown type, or a task that makes no sense.
    """
    found, state = known.found, known.state
    if known.going:
        return Delete() if found is not None and not leaving(found) and owner_of(found) == known.uid else Wait()
    if state.stage.over:
        return _after_end(known, seen)
    if problem is not None:
        return Report(_failed(state, problem, now))
    if found is None:
        return _without(known, now)
    if owner_of(found) != known.uid:
        return _in_the_way(known, found)
    assert seen is not None, "whoever finds the object asks its plugin"
    return _observed(known, seen, now)


def _after_end(known: Known, seen: Seen | None) -> Step:
    """The end that was told stands. What should not have begun after that is ended."""
    found = known.found
    if found is None or seen is None or leaving(found):
        return Wait()
    if known.state.stage is not Stage.FAILED or seen.state.stage.over:
        return Wait()
    return Delete() if known.asked else Ask()


def _without(known: Known, now: datetime) -> Step:
    """There is no object, as far as it is known."""
    if not launched(known.state):
        return Launching(State(Stage.INITIALIZING, "its object is being created"))
    if known.tried is Tried.RECORDED and not known.state.pods:
        return Create()
    if not known.asked:
        return Ask()
    text = "its object is gone, and not by alula" if known.state.pods else "it was lost while it was being created"
    text += f"; the last that was seen: {known.told}" if known.told else ""
    return Report(_failed(known.state, Cause(LOST, text, system=True), now))


def _in_the_way(known: Known, found: Object) -> Step:
    """There is something of its name that is not its own."""
    if leaving(found) or not _of_an_attempt(found):
        name = found["metadata"]["name"]
        text = f"there is another {found.get('kind', 'object')} named {name}: it has to go first"
        told = State(Stage.WAITING, text)
        return Retry(None if known.state == told or known.state.pods else told)
    return Delete()


def _observed(known: Known, seen: Seen, now: datetime) -> Step:
    state, target = known.state, merged(known.state, seen.state)
    if target == state:
        return Wait(seen.look_again)
    if target.stage is not state.stage and (target.stage.over or target.stage is Stage.RUNNING):
        return Report(target)
    settled = (known.since or now) + SETTLE
    if now >= settled:
        return Report(target)
    return Wait(min(settled, seen.look_again or settled))


def merged(state: State, seen: State) -> State:
    """What the status becomes. It stays launched, and keeps when it began and what its cluster has told."""
    running = state.stage is Stage.RUNNING and not seen.stage.over
    stage = Stage.RUNNING if running else seen.stage
    target = replace(
        seen,
        stage=stage,
        started_at=seen.started_at or state.started_at,
        pods=_pods(state, seen),
        links=seen.links or state.links,
        handle=seen.handle or state.handle,
        notes=(*state.notes, *(note for note in seen.notes if note not in state.notes)),
    )
    return target if launched(target) else replace(target, stage=Stage.INITIALIZING)


def _pods(state: State, seen: State) -> Sequence[Pod]:
    """Those that are seen, and as many as can be told of those that were: their logs are missed."""
    there = {pod.name for pod in seen.pods}
    gone = [pod for pod in state.pods if pod.name not in there]
    return (*seen.pods, *gone[: max(0, _PODS - len(there))])


def launched(state: State) -> bool:
    """Whether there may be an object: from before it is created."""
    return bool(state.pods or state.handle) or state.stage not in (Stage.QUEUED, Stage.WAITING)


def after_create(state: State, error: KubeError, now: datetime) -> tuple[Tried, Step]:
    """What follows from a create that failed, and what is known then."""
    match error:
        case Exists():
            return Tried.RECORDED, Ask()  # what is there is of no create that this process does not know of
        case Conflict():
            return Tried.RECORDED, Retry()
        case Busy():
            return (Tried.UNSURE if _may_be_done(error) else Tried.RECORDED), Retry(after=error.after or 0.0)
        case NotFound():
            text = f"what it needs is not installed in the cluster: {error}"
            return Tried.NOTHING, Report(_failed(state, Cause(NOT_FOUND, text, recoverable=False), now))
    if error.reason == _CHECKED:
        return Tried.RECORDED, Retry()
    if any(text in str(error) for text in _FOR_ROOM):
        return Tried.NOTHING, Retry(State(Stage.WAITING, str(error)))
    code = _CODES.get(error.reason, error.reason or "BadRequest")
    text = f"the cluster does not accept it: {error}\nWhat to do: {_HINTS.get(error.reason, _HINT)}"
    return Tried.NOTHING, Report(_failed(state, Cause(code, text, recoverable=False), now))


def unknown_type(task_type: str, types: Collection[str]) -> Cause:
    """Why a task of a type that no plugin carries out fails."""
    known = ", ".join(sorted(types))
    text = f"no plugin of this cluster runs tasks of type {task_type!r}; it knows {known}"
    return Cause(NOT_FOUND, text, recoverable=False)


def leaving(found: Object) -> bool:
    """Whether an object is being deleted."""
    return bool(found["metadata"].get("deletionTimestamp"))


def _may_be_done(error: Busy) -> bool:
    return error.reason not in _REFUSED_FOR_NOW or _UNSURE in str(error)


def _of_an_attempt(found: Object) -> bool:
    """Whether its owner is a TaskAction: then one of the same name that is gone."""
    owners = found["metadata"].get("ownerReferences") or ()
    return any(owner.get("controller") and owner.get("kind") == KIND for owner in owners)


def _failed(state: State, cause: Cause, now: datetime) -> State:
    return replace(state, stage=Stage.FAILED, reason=cause.message, cause=cause, ended_at=now)
