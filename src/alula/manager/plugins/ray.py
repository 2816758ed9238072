"""Ray: a cluster of its own for each attempt, and the job in it, by KubeRay (executor.md 4.4)."""

import base64
import binascii
import json
import shlex
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, ClassVar

from flyteidl2.core import tasks_pb2
from flyteidl2.plugins import ray_pb2

from alula.core.taskaction import Stage
from alula.kube.objects import PODS, Kind, Object
from alula.manager.jobspec import names
from alula.manager.jobspec.custom import parsed
from alula.manager.jobspec.links import link
from alula.manager.jobspec.roles import Spec, main, template
from alula.manager.jobspec.verdict import Report, failure, weighed
from alula.manager.plugins.base import BadTask, Seen, Task
from alula.manager.podspec.build import Role
from alula.manager.podspec.plain import plain
from alula.manager.podspec.resources import resources
from alula.manager.podspec.statuses import PRIMARY_ANNOTATION, instant
from alula.manager.podspec.target import draft

_HEAD, _WORKER, _SUBMITTER = "head", "worker", "submitter"
_SUBMITS = "ray-job-submitter"  # the container that KubeRay looks for
_PORTS = {"gcs-server": 6379, "client": 10001, "dashboard": 8265}  # as KubeRay calls them
_QUIET = {"RAY_COLOR_PREFIX": "0", "RAY_DATA_DISABLE_PROGRESS_BARS": "1"}  # in logs that are no terminals
_FIELDS = {"MY_POD_NAME": "metadata.name", "MY_POD_IP": "status.podIP"}  # what start parameters may refer to
_START = {"node-ip-address": "$MY_POD_IP", "disable-usage-stats": "true"}
_START_HEAD = {"include-dashboard": "true", "dashboard-host": "0.0.0.0"}  # noqa: S104 - in its pod
_SUBMITTERS = {"requests": {"cpu": "500m", "memory": "200Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
_MODES = {
    ray_pb2.AutoscalerOptions.UPSCALING_MODE_DEFAULT: "Default",
    ray_pb2.AutoscalerOptions.UPSCALING_MODE_AGGRESSIVE: "Aggressive",
    ray_pb2.AutoscalerOptions.UPSCALING_MODE_CONSERVATIVE: "Conservative",
}
# Reasons for which neither the task nor its author is to blame.
_SYSTEM = frozenset(
    {"SubmissionFailed", "JobDeploymentStatusTransitionGracePeriodExceeded", "JobStatusCheckTimeoutExceeded"}
)


@dataclass(frozen=True, slots=True)
class RayPlugin:
    """``dashboard`` is a template of the URI of a cluster's dashboard, "" if people cannot reach it.

    Its variables: ``rayClusterName``, ``rayJobID``, ``namespace``. ``linger``: the seconds that a cluster stays when
    its job is over, if the task says nothing.
    """

    types: ClassVar[Sequence[str]] = ("ray",)
    kind: ClassVar[Kind] = Kind("ray.io", "v1", "RayJob", "rayjobs")
    parts: ClassVar[Sequence[Kind]] = (PODS,)
    dashboard: str = ""
    linger: int = 60  # so that its logs can be fetched

    def build(self, task: Task) -> Object:
        """See `Plugin.build`. The task's command runs in the head's pod; the submitter's log is what it prints."""
        job = parsed(task, ray_pb2.RayJob())
        entry = draft(task.template, task.settings.gpu_resource).main
        head = _head(task, job.ray_cluster.head_group_spec)
        cluster: Spec = {
            "headGroupSpec": head,
            "workerGroupSpecs": [_workers(task, group) for group in job.ray_cluster.worker_group_spec],
        }
        if job.ray_cluster.enable_autoscaling:
            cluster |= {"enableInTreeAutoscaling": True}
            cluster |= {"autoscalerOptions": _autoscaler(task, job.ray_cluster.autoscaler_options)}
        spec = {
            "entrypoint": shlex.join([*(entry.get("command") or ()), *(entry.get("args") or ())]),
            "runtimeEnvYAML": _runtime(job),
            "rayClusterSpec": cluster,
            "submissionMode": "K8sJobMode",
            "submitterPodTemplate": _submitter(head["template"]),
            "shutdownAfterJobFinishes": True,
            "ttlSecondsAfterFinished": job.ttl_seconds_after_finished or self.linger,
            "backoffLimit": 0,  # who tries again is not KubeRay's to decide
        }
        return {
            "apiVersion": self.kind.api_version,
            "kind": self.kind.kind,
            "metadata": {"name": names.label(task.request.name)},
            "spec": {key: value for key, value in spec.items() if value != ""},
        }

    def observe(self, task: Task, found: Object, parts: Sequence[Object], now: datetime) -> Seen:
        """See `Plugin.observe`. The head's end is the job's; workers come and go."""
        report = _report(found)
        status = found.get("status") or {}
        if report.stage is Stage.RUNNING:
            values = {
                "rayClusterName": status.get("rayClusterName") or "",
                "rayJobID": status.get("jobId") or "",
                "namespace": task.namespace,
            }
            report = replace(report, links=link("Ray Dashboard", self.dashboard, values))
        return _printing_first(weighed(task, found, report, parts, now, (_HEAD,)))


def _printing_first(seen: Seen) -> Seen:
    """What the task prints is in the submitter's log, not in the head's."""
    pods = sorted(seen.state.pods, key=lambda pod: pod.primary != _SUBMITS)
    return replace(seen, state=replace(seen.state, pods=tuple(pods)))


def _head(task: Task, group: ray_pb2.HeadGroupSpec) -> Spec:
    made = _node(task, _HEAD, group)
    container = main(made)
    taken = {port.get("containerPort") for port in container.get("ports") or ()}
    ports = [{"name": name, "containerPort": port} for name, port in _PORTS.items() if port not in taken]
    container["ports"] = [*(container.get("ports") or ()), *ports]
    start = {**_START, **_START_HEAD, **group.ray_start_params}
    return {"serviceType": "ClusterIP", "rayStartParams": start, "template": made}


def _workers(task: Task, group: ray_pb2.WorkerGroupSpec) -> Spec:
    if not group.group_name:
        raise BadTask(f"the task {task.template.id.name} has a group of Ray workers without a name")
    made = _node(task, _WORKER, group)
    container = main(made)
    container["env"] = _with(container, {"RAY_DISABLE_DOCKER_CPU_WARNING": "1"})
    container.setdefault("lifecycle", {"preStop": {"exec": {"command": ["/bin/sh", "-c", "ray stop"]}}})
    return {
        "groupName": group.group_name,
        "replicas": group.replicas,
        "minReplicas": min(group.min_replicas, group.replicas),
        "maxReplicas": max(group.max_replicas, group.replicas),
        "rayStartParams": {**_START, **group.ray_start_params},
        "template": made,
    }


def _node(task: Task, name: str, group: ray_pb2.HeadGroupSpec | ray_pb2.WorkerGroupSpec) -> Spec:
    """The pods of a group. They start Ray and not the task, unless the group says a command of its own."""
    pod = group.k8s_pod if group.HasField("k8s_pod") else None
    extended = group.extended_resources if group.HasField("extended_resources") else None
    interruptible = False if name == _HEAD else None
    role = Role(container=f"ray-{name}", pod=pod, extended=extended, interruptible=interruptible)
    made = template(task, name, role)
    container, own = main(made), _own(pod, f"ray-{name}")
    for key in ("command", "args"):
        container.pop(key, None)
        if own.get(key):
            container[key] = own[key]
    container["env"] = _with(container, _QUIET)
    named = {one["name"] for one in container["env"]}
    container["env"] += [
        {"name": variable, "valueFrom": {"fieldRef": {"fieldPath": path}}}
        for variable, path in _FIELDS.items()
        if variable not in named
    ]
    return made


def _own(pod: tasks_pb2.K8sPod | None, usual: str) -> Mapping[str, Any]:
    """What a group says of its own main container."""
    if pod is None:
        return {}
    name = pod.primary_container_name or usual
    containers: Sequence[Mapping[str, Any]] = plain(pod.pod_spec).get("containers") or ()
    return next((one for one in containers if one.get("name") == name), {})


def _with(container: Spec, variables: Mapping[str, str]) -> list[Spec]:
    """Its variables, and those of ours that it does not set itself."""
    own: list[Spec] = container.get("env") or []
    named = {one["name"] for one in own}
    return [*own, *({"name": key, "value": value} for key, value in variables.items() if key not in named)]


def _submitter(head: Spec) -> Spec:
    """Who submits the job and prints its log. It runs nothing of the task, so it gets none of its variables."""
    metadata = head["metadata"]
    kept = ("tolerations", "affinity", "nodeSelector", "imagePullSecrets", "schedulerName", "securityContext")
    container = {"name": _SUBMITS, "image": main(head)["image"], "resources": deepcopy(_SUBMITTERS)}
    labels = {key: _SUBMITTER if value == _HEAD else value for key, value in metadata["labels"].items()}
    return {
        "metadata": {"labels": labels, "annotations": {**metadata["annotations"], PRIMARY_ANNOTATION: _SUBMITS}},
        "spec": {
            "restartPolicy": "Never",
            "containers": [container],
            **{key: deepcopy(head["spec"][key]) for key in kept if key in head["spec"]},
        },
    }


def _autoscaler(task: Task, asked: ray_pb2.AutoscalerOptions) -> Spec:
    found = {
        "idleTimeoutSeconds": asked.idle_timeout_seconds,
        "upscalingMode": _MODES.get(asked.upscaling_mode),
        "image": asked.image,
        "env": [{"name": pair.key, "value": pair.value} for pair in asked.env],
        "resources": resources(asked.resources, task.settings.gpu_resource),
    }
    return {key: value for key, value in found.items() if value}


def _runtime(job: ray_pb2.RayJob) -> str:
    """The runtime environment. Its older form is JSON, which is YAML, too."""
    if job.runtime_env_yaml or not job.runtime_env:
        return job.runtime_env_yaml
    try:
        text = base64.b64decode(job.runtime_env, validate=True).decode()
        json.loads(text)
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise BadTask(f"the Ray job's runtime_env is no JSON in base64: {error}") from None
    return text


def _report(job: Object) -> Report:
    status: Mapping[str, Any] = job.get("status") or {}
    of_job = status.get("rayJobInfo") or {}
    started = instant(of_job.get("startTime")) or instant(status.get("startTime"))
    ended = instant(of_job.get("endTime")) or instant(status.get("endTime"))
    text = ": ".join(filter(None, (status.get("reason"), status.get("message"))))
    match status.get("jobDeploymentStatus") or "":
        case "":
            return Report(Stage.QUEUED)
        case "Suspending" | "Suspended":
            return Report(Stage.WAITING, "the job is suspended")
        case "Complete":
            return replace(_completed(status, text), started_at=started, ended_at=ended)
        case "Failed" | "ValidationFailed":
            return replace(_failed(status, text), started_at=started, ended_at=ended)
        case "Running" if status.get("jobStatus") in ("RUNNING", "SUCCEEDED", "FAILED"):
            return Report(Stage.RUNNING, started_at=started)
        case "Running":
            return Report(Stage.INITIALIZING, "the cluster is up; the job is being submitted")
        case other:
            return Report(Stage.INITIALIZING, text or f"the cluster is {other.lower()}")


def _completed(status: Mapping[str, Any], text: str) -> Report:
    if status.get("jobStatus") == "STOPPED":
        return failure(f"somebody stopped the Ray job; {text}", "RayJobStopped")
    if status.get("jobStatus") == "FAILED":
        return _failed(status, text)
    return Report(Stage.SUCCEEDED)


def _failed(status: Mapping[str, Any], text: str) -> Report:
    reason = status.get("reason") or ""
    message = f"the Ray job failed: {text or 'KubeRay gave no reason'}"
    if reason == "ValidationFailed" or status.get("jobDeploymentStatus") == "ValidationFailed":
        return failure(message, "BadTaskSpecification", recoverable=False)
    if reason in _SYSTEM:
        return failure(message, reason, system=True)
    return failure(message, "TaskFailedWithError")
