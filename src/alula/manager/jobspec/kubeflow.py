"""What the jobs of Kubeflow's training operator have in common (executor.md 4.6)."""

from collections.abc import Mapping
from typing import Any

from flyteidl2.core import tasks_pb2
from flyteidl2.plugins import common_pb2
from flyteidl2.plugins.kubeflow import common_pb2 as kubeflow_pb2
from flyteidl2.plugins.kubeflow import mpi_pb2, pytorch_pb2, tensorflow_pb2

from alula.core.taskaction import Stage
from alula.kube.objects import Object
from alula.manager.jobspec.roles import Spec, main, template
from alula.manager.jobspec.verdict import Report, failure
from alula.manager.plugins.base import BadTask, Task
from alula.manager.podspec.build import Role
from alula.manager.podspec.statuses import instant

_RESTARTS = {
    common_pb2.RESTART_POLICY_NEVER: "Never",
    common_pb2.RESTART_POLICY_ON_FAILURE: "OnFailure",
    common_pb2.RESTART_POLICY_ALWAYS: "Always",
}
_CLEANS = {
    kubeflow_pb2.CLEANPOD_POLICY_NONE: "None",
    kubeflow_pb2.CLEANPOD_POLICY_RUNNING: "Running",
    kubeflow_pb2.CLEANPOD_POLICY_ALL: "All",
}

Replicas = (
    pytorch_pb2.DistributedPyTorchTrainingReplicaSpec
    | mpi_pb2.DistributedMPITrainingReplicaSpec
    | tensorflow_pb2.DistributedTensorflowTrainingReplicaSpec
)


def said(replicas: Replicas) -> common_pb2.CommonReplicaSpec:
    """What is said of a role, in its newer form (``common``) or in the fields before that."""
    if replicas.HasField("common"):
        return replicas.common
    resources = replicas.resources if replicas.HasField("resources") else None
    return common_pb2.CommonReplicaSpec(
        replicas=replicas.replicas,
        image=replicas.image,
        resources=resources,
        restart_policy=replicas.restart_policy,
    )


def number(count: int) -> common_pb2.CommonReplicaSpec:
    """A role of which nothing but a number is said."""
    return common_pb2.CommonReplicaSpec(replicas=count)


def replicas(
    task: Task, name: str, container: str, asked: common_pb2.CommonReplicaSpec, *, interruptible: bool | None = None
) -> Spec:
    """A role of a job: so many pods from one template. ``container`` is the name that the operator looks for."""
    resources: tasks_pb2.Resources | None = asked.resources if asked.HasField("resources") else None
    role = Role(container=container, image=asked.image, resources=resources, interruptible=interruptible)
    made = template(task, name, role)
    made["spec"].pop("restartPolicy", None)  # the operator sets it from that of the role
    policy = _RESTARTS.get(asked.restart_policy, "Never")
    return {"replicas": asked.replicas, "restartPolicy": policy, "template": made}


def commanded(role: Spec, command: list[str], arguments: list[str]) -> Spec:
    """A role whose container runs something other than the task; nothing at all: what the operator makes it run."""
    container = main(role["template"])
    for key, value in (("command", command), ("args", arguments)):
        container.pop(key, None)
        if value:
            container[key] = value
    return role


def run_policy(asked: kubeflow_pb2.RunPolicy | None) -> Spec:
    """What is to become of a job, and of its pods when it has ended; ``None``: nothing is said of it.

    Pods that have ended stay, as their logs are in them, until the job is deleted.
    """
    if asked is None:
        return {"cleanPodPolicy": "Running"}
    numbers = {
        "ttlSecondsAfterFinished": asked.ttl_seconds_after_finished,
        "activeDeadlineSeconds": asked.active_deadline_seconds,
        "backoffLimit": asked.backoff_limit,
    }
    policy = _CLEANS.get(asked.clean_pod_policy, "Running")
    return {"cleanPodPolicy": policy, **{key: value for key, value in numbers.items() if value > 0}}


def at_least_one(task: Task, role: str, count: int) -> None:
    """
    Raises:
        BadTask: the task has no pod of a role that it cannot do without.
    """
    if count < 1:
        raise BadTask(f"the task {task.template.id.name} has {count} replicas of {role}; it needs one at least")


def report(job: Object) -> Report:
    """What the operator says, in the conditions of a job of any kind of its."""
    status: Mapping[str, Any] = job.get("status") or {}
    holds = {one["type"]: one for one in status.get("conditions") or () if one.get("status") == "True"}
    times = instant(status.get("startTime")), instant(status.get("completionTime"))
    if (failed := holds.get("Failed")) is not None:
        return _failed(failed, instant(failed.get("lastTransitionTime")), times)
    if "Succeeded" in holds:
        return Report(Stage.SUCCEEDED, started_at=times[0], ended_at=times[1])
    if "Suspended" in holds:
        return Report(Stage.WAITING, _text(holds["Suspended"]) or "the job is suspended")
    if "Restarting" in holds:
        return Report(Stage.RUNNING, _text(holds["Restarting"]), started_at=times[0])
    if "Running" in holds:
        return Report(Stage.RUNNING, started_at=times[0])
    return Report(Stage.INITIALIZING if "Created" in holds else Stage.QUEUED)


def _failed(condition: Mapping[str, Any], at: Any, times: tuple[Any, Any]) -> Report:
    reason = condition.get("reason") or ""
    text = f"the job failed: {_text(condition)}"
    if reason.endswith("FailedValidation"):
        found = failure(text, "BadTaskSpecification", recoverable=False)
    elif reason.endswith("Evicted"):
        found = failure(text, "Interrupted", system=True)
    else:
        found = failure(text, "DownstreamSystemError")
    return Report(found.stage, found.reason, found.cause, times[0], times[1] or at)


def _text(condition: Mapping[str, Any]) -> str:
    return ": ".join(filter(None, (condition.get("reason"), condition.get("message"))))
