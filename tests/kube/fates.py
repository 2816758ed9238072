"""What becomes of simulated pods, as the statuses that a cluster would show."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from alula.kube.objects import Object


class End(StrEnum):
    """How a pod ends, or why it does not."""

    SUCCEEDED = "Succeeded"
    FAILED = "Error"  # with the fate's exit code
    OOM = "OOMKilled"
    EVICTED = "Evicted"
    PREEMPTED = "Preempted"  # by the scheduler, for another pod
    NODE_LOST = "NodeLost"
    BAD_IMAGE = "ImagePullBackOff"  # for ever
    CREATING = "ContainerCreating"  # for ever
    UNSCHEDULABLE = "Unschedulable"  # for ever
    NEVER = "Running"  # until it is deleted, or the kubelet is told


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of a pod. ``after``: seconds that it runs; 0 means that nobody sees it run.

    ``container``: which one ends so ("" means all of them); others end well. ``log``: the lines of each container;
    ``last_words``: what a kubelet quotes of it.
    """

    end: End = End.SUCCEEDED
    after: float = 0.0
    exit_code: int = 1
    container: str = ""
    log: tuple[str, ...] = ("hello",)
    message: str = ""
    last_words: str = ""


def running(pod: Object, began: datetime) -> Object:
    """The status of a pod whose containers run; init containers have ended, but those that are sidecars."""
    state = {"running": {"startedAt": _time(began)}}
    over = {"terminated": _terminated("Completed", 0, began, began)}
    status = {"phase": "Running", "startTime": _time(began), "conditions": _conditions(ready=True)}
    return status | _containers(pod, lambda one, init: over if init and not _sidecar(one) else state)


def waiting(pod: Object, reason: str, message: str = "") -> Object:
    """The status of a pod that has a node, and containers that wait."""
    state = {"waiting": {"reason": reason} | ({"message": message} if message else {})}
    return {"phase": "Pending", "conditions": _conditions(ready=False)} | _containers(pod, lambda *_: state)


def unschedulable(message: str) -> Object:
    """The status of a pod for which there is no node."""
    text = message or "0/3 nodes are available: 3 Insufficient cpu."
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": text}
    return {"phase": "Pending", "conditions": [condition]}


def ended(pod: Object, fate: Fate, began: datetime, now: datetime) -> Object:
    """The status of a pod that has ended by itself, or by its kubelet."""
    names = {End.SUCCEEDED: ("Completed", 0), End.FAILED: ("Error", fate.exit_code), End.OOM: ("OOMKilled", 137)}
    reason, code = names.get(fate.end, ("Error", 137))

    def state(one: Object, init: bool) -> Object:
        hit = fate.container in ("", one["name"]) and not (init and fate.container == "")
        said = {"message": fate.last_words} if hit and _quoted(one) and fate.last_words else {}
        return {"terminated": _terminated(*((reason, code) if hit else ("Completed", 0)), began, now) | said}

    status: Object = {"phase": "Failed" if code else "Succeeded", "startTime": _time(began)}
    conditions = _conditions(ready=False)
    if fate.end is End.EVICTED:
        status |= {"reason": "Evicted", "message": fate.message or "The node was low on resource: memory."}
        conditions.append(_condition("DisruptionTarget", "True", "TerminationByKubelet"))
    elif fate.message:
        status["message"] = fate.message
    return status | {"conditions": conditions} | _containers(pod, state)


def disrupted(pod: Object, reason: str, *, ready: bool) -> list[Object]:
    """The conditions of a pod that is about to be deleted by the cluster."""
    kept = [one for one in pod["status"].get("conditions", []) if one["type"] not in ("Ready", "DisruptionTarget")]
    state = _condition("Ready", "True" if ready else "False", "" if ready else "NodeNotReady")
    return [*kept, state, _condition("DisruptionTarget", "True", reason)]


def _containers(pod: Object, state: Callable[[Object, bool], Object]) -> Object:
    found: Object = {}
    for part, key in (("containers", "containerStatuses"), ("initContainers", "initContainerStatuses")):
        if pod["spec"].get(part):
            found[key] = [_container(pod, one, state(one, part == "initContainers")) for one in pod["spec"][part]]
    return found


def _container(pod: Object, one: Object, state: Object) -> Object:
    ready = "running" in state
    said = {"image": one["image"], "imageID": "", "restartCount": 0, "ready": ready, "started": ready, "state": state}
    identity = "" if "waiting" in state else f"containerd://{pod['metadata']['uid']}-{one['name']}"
    return {"name": one["name"], "containerID": identity, **said}


def _terminated(reason: str, code: int, began: datetime, now: datetime) -> Object:
    return {"reason": reason, "exitCode": code, "startedAt": _time(began), "finishedAt": _time(now)}


def _conditions(*, ready: bool) -> list[Object]:
    said = "True" if ready else "False"
    return [
        _condition("PodScheduled", "True"),
        _condition("Initialized", "True"),
        _condition("ContainersReady", said),
        _condition("Ready", said),
    ]


def _condition(kind: str, status: str, reason: str = "") -> Object:
    condition = {"type": kind, "status": status, "lastTransitionTime": _time(datetime.now(UTC))}
    return condition | ({"reason": reason} if reason else {})


def _quoted(container: Object) -> bool:
    return container.get("terminationMessagePolicy") == "FallbackToLogsOnError"


def _sidecar(container: Object) -> bool:
    return container.get("restartPolicy") == "Always"


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
