"""What a TaskAction shows of its attempt, as an executor tells it. Pure."""

from alula.core import taskstatus
from alula.core.launch import Observation, Presence
from alula.core.taskaction import Cause, Stage, State
from alula.core.verdict import OUT_OF_MEMORY
from alula.kube.objects import Object

_DELETED = Cause("ResourceDeletedExternally", "its TaskAction was deleted, and not by alula", system=True)
_PRESENCES = {
    Stage.WAITING: Presence.WAITING,
    Stage.INITIALIZING: Presence.STARTING,
    Stage.RUNNING: Presence.RUNNING,
}


def state_of(found: Object) -> State:
    """The state in an object's status; of one that the Manager has not looked at yet the first."""
    return taskstatus.read_state(found.get("status") or {}) or State()


def observation(found: Object, cluster: str) -> Observation:
    """What is seen of an attempt."""
    state = state_of(found)
    deleted = "deletionTimestamp" in found["metadata"] and not state.stage.over
    cause = _DELETED if deleted else state.cause
    reason = [state.reason] if state.reason and not state.stage.over else []
    return Observation(
        Presence.EXITED if deleted else _presence(state),
        started_at=state.started_at,
        ended_at=state.ended_at,
        exit_code=0 if state.stage is Stage.SUCCEEDED else state.exit_code,
        out_of_memory=cause is not None and cause.code == OUT_OF_MEMORY,
        notes=tuple(dict.fromkeys([*state.notes, *reason])),
        cause=cause,
        cluster=cluster,
        links=tuple(state.links),
    )


def slim(found: Object) -> Object:
    """What is looked at again: no template, no environment."""
    meta = {key: value for key, value in found["metadata"].items() if key not in ("managedFields", "annotations")}
    return {"metadata": meta, "status": found.get("status") or {}}


def _presence(state: State) -> Presence:
    """An attempt that is about to be created, or whose pods have no node, has not begun to start."""
    if state.stage.over:
        return Presence.EXITED
    if not (state.pods or state.handle) and state.stage in (Stage.QUEUED, Stage.INITIALIZING):
        return Presence.ACCEPTED
    return Presence.WAITING if state.stage is Stage.QUEUED else _PRESENCES[state.stage]
