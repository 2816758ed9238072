"""Clustered tasks: as many pods of one kind, started together, that torchrun makes one of (executor.md 4.7)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, ClassVar

from flyteidl2.plugins import clustered_pb2

from alula.core.taskaction import Stage
from alula.kube.objects import PODS, Kind, Object
from alula.manager.jobspec import names
from alula.manager.jobspec.custom import parsed
from alula.manager.jobspec.roles import Spec, main, own, template
from alula.manager.jobspec.verdict import Report, failure, weighed
from alula.manager.plugins.base import BadTask, Seen, Task
from alula.manager.podspec.build import Role
from alula.manager.podspec.statuses import instant

_WORKER, _GROUP = "worker", "workers"
_MOST = 100_000  # pods of a Job with an index
_NAME = 63 - len(f"-{_GROUP}-0-99999-abcde")  # its pods' names are host names
_PORT = "29500"
_BACKENDS = {clustered_pb2.STATIC: "static", clustered_pb2.C10D: "c10d"}
_FIELDS = {
    "JOBSET_NAME": "metadata.labels['jobset.sigs.k8s.io/jobset-name']",
    "JOBSET_RESTART_ATTEMPT": "metadata.annotations['jobset.sigs.k8s.io/restart-attempt']",
    "POD_NAMESPACE": "metadata.namespace",
}


@dataclass(frozen=True, slots=True)
class ClusteredPlugin:
    """A JobSet of one Job. Its own restarts start all pods anew within one attempt; the SDK counts on that."""

    types: ClassVar[Sequence[str]] = ("clustered-task",)
    kind: ClassVar[Kind] = Kind("jobset.x-k8s.io", "v1alpha2", "JobSet", "jobsets")
    parts: ClassVar[Sequence[Kind]] = (PODS,)

    def build(self, task: Task) -> Object:
        """See `Plugin.build`."""
        asked = parsed(task, clustered_pb2.ClusteredTaskSpec())
        _check(task, asked)
        name = names.label(task.request.name, _NAME)
        made = template(task, _WORKER, Role())
        container = main(made)
        container["env"] = _with(container.get("env") or [], _environment(asked))
        made["spec"].update(restartPolicy="Never", subdomain=name)
        spec: Spec = {
            "network": {"enableDNSHostnames": True},
            "successPolicy": {"operator": "All"},
            "replicatedJobs": [{"name": _GROUP, "replicas": 1, "template": {"spec": _job(asked.replicas, made)}}],
        }
        if asked.failure_policy.max_restarts:
            spec["failurePolicy"] = {"maxRestarts": asked.failure_policy.max_restarts}
        if asked.HasField("ttl_seconds_after_finished"):
            spec["ttlSecondsAfterFinished"] = asked.ttl_seconds_after_finished.value
        return {
            "apiVersion": self.kind.api_version,
            "kind": self.kind.kind,
            "metadata": {"name": name},
            "spec": spec,
        }

    def observe(self, task: Task, found: Object, parts: Sequence[Object], now: datetime) -> Seen:
        """See `Plugin.observe`. While it may be restarted, no pod's end is the attempt's."""
        report = _report(found, own(task, parts))
        most = (found["spec"].get("failurePolicy") or {}).get("maxRestarts", 0)
        restarts = (found.get("status") or {}).get("restarts", 0)
        final = report.stage.over or restarts >= most
        return _retold(weighed(task, found, report, parts, now, (_WORKER,) if final else ()), restarts)


def _retold(seen: Seen, restarts: int) -> Seen:
    if not restarts or seen.state.reason or seen.state.stage.over:
        return seen
    return replace(seen, state=replace(seen.state, reason=f"all of its pods were started anew {restarts} times"))


def _check(task: Task, asked: clustered_pb2.ClusteredTaskSpec) -> None:
    name = task.template.id.name
    if not 1 <= asked.replicas <= _MOST:
        raise BadTask(f"the task {name} asks for {asked.replicas} replicas; from 1 to {_MOST} are possible")
    if asked.nproc_per_node < 1:
        raise BadTask(f"the task {name} asks for {asked.nproc_per_node} processes on a node; it needs one at least")
    if asked.failure_policy.max_restarts < 0:
        raise BadTask(f"the task {name}: failure_policy.max_restarts is negative")


def _job(replicas: int, made: Spec) -> Spec:
    return {
        "completionMode": "Indexed",
        "parallelism": replicas,
        "completions": replicas,
        "backoffLimit": 0,
        "template": made,
    }


def _environment(asked: clustered_pb2.ClusteredTaskSpec) -> list[Spec]:
    """What the SDK's launcher reads. The address of rank 0 follows from the name of the JobSet."""
    values = {
        "NNODES": str(asked.replicas),
        "NPROC_PER_NODE": str(asked.nproc_per_node),
        "MASTER_PORT": _PORT,
        "RDZV_BACKEND": _BACKENDS.get(asked.runtime.torchrun.rdzv_backend, "static"),
        "JOBSET_MAX_RESTARTS": str(asked.failure_policy.max_restarts),
    }
    by_value: list[Spec] = [{"name": key, "value": value} for key, value in values.items()]
    return by_value + [{"name": key, "valueFrom": {"fieldRef": {"fieldPath": path}}} for key, path in _FIELDS.items()]


def _with(said: Iterable[Spec], ours: Iterable[Spec]) -> list[Spec]:
    return list({one["name"]: one for one in (*said, *ours)}.values())


def _report(job: Object, pods: Sequence[Object]) -> Report:
    status: Mapping[str, Any] = job.get("status") or {}
    holds = {one["type"]: one for one in status.get("conditions") or () if one.get("status") == "True"}
    if (failed := holds.get("Failed")) is not None:
        text = ": ".join(filter(None, (failed.get("reason"), failed.get("message"))))
        found = failure(f"the JobSet failed: {text}", failed.get("reason") or "FailedJobs")
        return replace(found, ended_at=instant(failed.get("lastTransitionTime")))
    if (completed := holds.get("Completed")) is not None:
        return Report(Stage.SUCCEEDED, ended_at=instant(completed.get("lastTransitionTime")))
    if "Suspended" in holds:
        return Report(Stage.WAITING, "the JobSet is suspended")
    if status.get("restarts") or any((pod.get("status") or {}).get("phase") == "Running" for pod in pods):
        return Report(Stage.RUNNING)
    jobs = status.get("replicatedJobsStatus") or ()
    if any(one.get("ready") or one.get("succeeded") for one in jobs):
        return Report(Stage.RUNNING)
    return Report(Stage.INITIALIZING if jobs or pods else Stage.QUEUED)
