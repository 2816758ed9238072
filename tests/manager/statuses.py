"""Statuses of pods as kubelets and schedulers write them, in parts that a table can put together."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from alula.kube.objects import Object

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
Status = dict[str, Any]
_READY = "containers with unready status: [primary]"


def ago(seconds: float) -> str:
    """A time so long before NOW, as Kubernetes spells it."""
    return (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def waiting(reason: str, message: str = "", *, last: Status | None = None) -> Status:
    told: Status = {"reason": reason} | ({"message": message} if message else {})
    return {"ready": False, "started": False, "restartCount": 1 if last else 0, "state": {"waiting": told}} | (
        {"lastState": last["state"]} if last else {"lastState": {}}
    )


def running(since: float = 20) -> Status:
    return {
        "ready": True,
        "started": True,
        "restartCount": 0,
        "lastState": {},
        "state": {"running": {"startedAt": ago(since)}},
    }


def ended(code: int, reason: str = "", message: str = "", *, began: float | None = 20, at: float | None = 5) -> Status:
    """``began``, ``at``: seconds ago; ``None``: the kubelet does not know."""
    end: Status = {
        "exitCode": code,
        "reason": reason or ("Error" if code else "Completed"),
        "containerID": "containerd://8f1d" if began is not None else "",
        "startedAt": ago(began) if began is not None else None,
        "finishedAt": ago(at) if at is not None else None,
    }
    return {
        "ready": False,
        "started": False,
        "restartCount": 0,
        "lastState": {},
        "state": {"terminated": end | ({"message": message} if message else {})},
    }


def condition(name: str, status: bool, reason: str = "", message: str = "", *, since: float = 30) -> Status:
    told: Status = {"type": name, "status": "True" if status else "False", "lastTransitionTime": ago(since)}
    return told | {key: text for key, text in (("reason", reason), ("message", message)) if text}


def placed(since: float = 30) -> list[Status]:
    """The conditions of a pod that has a node, and is not ready."""
    return [
        condition("PodReadyToStartContainers", True, since=since),
        condition("Initialized", True, since=since),
        condition("Ready", False, "ContainersNotReady", _READY, since=since),
        condition("ContainersReady", False, "ContainersNotReady", _READY, since=since),
        condition("PodScheduled", True, since=since),
    ]


def unplaced(reason: str, message: str) -> list[Status]:
    return [condition("PodScheduled", False, reason, message)]


def disrupted(reason: str, message: str) -> Status:
    return condition("DisruptionTarget", True, reason, message, since=2)


def _age(told: Status) -> float:
    return (NOW - datetime.fromisoformat(told["lastTransitionTime"])).total_seconds()


def pod(
    phase: str,
    main: Status | None = None,
    *,
    init: Mapping[str, Status | None] | None = None,
    beside: Mapping[str, Status | None] | None = None,
    sidecars: Sequence[str] = (),
    conditions: Sequence[Status] = (),
    reason: str = "",
    message: str = "",
    deleted: tuple[float, float] | None = None,
    created: float | None = None,
    primary: str = "primary",
    names: Sequence[str] = ("primary",),
) -> Object:
    """A pod. A container without a status is one that its kubelet has not told of.

    ``deleted``: in how many seconds from NOW its grace period is over, and how long that is.
    """
    init, beside = init or {}, beside or {}
    created = max((_age(one) for one in conditions), default=30) + 1 if created is None else created
    told: Status = {"phase": phase, "conditions": list(conditions), "qosClass": "Guaranteed"}
    told |= {key: text for key, text in (("reason", reason), ("message", message)) if text}
    states = {**{name: main for name in names if name == primary}, **beside}
    for key, found in (("containerStatuses", states), ("initContainerStatuses", init)):
        if any(found.values()):
            told[key] = [{"name": name, "image": "i", "imageID": "", **state} for name, state in found.items() if state]
    meta: Status = {"name": "r1-a0.0123456789ab.1", "namespace": "work", "creationTimestamp": ago(created)}
    meta["annotations"] = {"primary_container_name": primary}
    if deleted is not None:
        meta |= {"deletionTimestamp": ago(-deleted[0]), "deletionGracePeriodSeconds": int(deleted[1])}
    spec = {
        "containers": [{"name": name} for name in (*names, *beside)],
        "initContainers": [{"name": name} | ({"restartPolicy": "Always"} if name in sidecars else {}) for name in init],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec, "status": told}
