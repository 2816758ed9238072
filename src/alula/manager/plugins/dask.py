"""Dask: a scheduler, its workers and the task beside them, by Dask's own operator (executor.md 4.5)."""

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, ClassVar

from flyteidl2.plugins import dask_pb2

from alula.core.quantity import parse
from alula.core.taskaction import Stage
from alula.kube.objects import PODS, Kind, Object
from alula.manager.jobspec import names
from alula.manager.jobspec.custom import parsed
from alula.manager.jobspec.links import link
from alula.manager.jobspec.roles import Spec, main, template
from alula.manager.jobspec.verdict import Report, failure, weighed
from alula.manager.plugins.base import BadTask, Seen, Task
from alula.manager.podspec.build import Role
from alula.manager.podspec.statuses import instant

_RUNNER, _SCHEDULER, _WORKER = "runner", "scheduler", "worker"
_COMM, _DASHBOARD = 8786, 8787  # ports of a scheduler
_TARGET = "http-dashboard"  # the operator looks for this name
_READY = {
    "httpGet": {"port": _TARGET, "path": "/health"},
    "initialDelaySeconds": 5,
    "periodSeconds": 5,
    "failureThreshold": 30,
}


@dataclass(frozen=True, slots=True)
class DaskPlugin:
    """``dashboard`` is a template of the URI of a scheduler's dashboard, "" if people cannot reach it.

    Its variables: ``daskSchedulerName``, ``namespace``.
    """

    types: ClassVar[Sequence[str]] = ("dask",)
    kind: ClassVar[Kind] = Kind("kubernetes.dask.org", "v1", "DaskJob", "daskjobs")
    parts: ClassVar[Sequence[Kind]] = (PODS,)
    dashboard: str = ""

    def build(self, task: Task) -> Object:
        """See `Plugin.build`. The task runs in the runner; only workers may be on nodes that are taken away."""
        job = parsed(task, dask_pb2.DaskJob())
        if job.workers.number_of_workers < 1:
            raise BadTask(f"the task {task.template.id.name} has no Dask workers; it needs one at least")
        name = names.label(task.request.name)
        runner = template(task, _RUNNER, Role(container="job-runner", interruptible=False))
        worker = {"replicas": job.workers.number_of_workers, **_worker(task, job.workers)}
        cluster = {"worker": worker, "scheduler": _scheduler(task, job.scheduler, name)}
        return {
            "apiVersion": self.kind.api_version,
            "kind": self.kind.kind,
            "metadata": {"name": name},
            "spec": {"job": runner, "cluster": {"spec": cluster}},
        }

    def observe(self, task: Task, found: Object, parts: Sequence[Object], now: datetime) -> Seen:
        """See `Plugin.observe`. The operator says no more of a failure than that it was one: the runner's pod does."""
        report = _report(found)
        if report.stage is Stage.RUNNING:
            cluster = (found.get("status") or {}).get("clusterName") or found["metadata"]["name"]
            values = {"daskSchedulerName": f"{cluster}-scheduler", "namespace": task.namespace}
            report = replace(report, links=link("Dask Dashboard", self.dashboard, values))
        return weighed(task, found, report, parts, now, (_RUNNER,))


def _worker(task: Task, asked: dask_pb2.DaskWorkerGroup) -> Spec:
    resources = asked.resources if asked.HasField("resources") else None
    role = Role(container="dask-worker", image=asked.image, resources=resources)
    made = _served(template(task, _WORKER, role))
    container = main(made)
    limits = container["resources"]["limits"]
    arguments = ["dask", "worker", "--name", "$(DASK_WORKER_NAME)"]
    if "cpu" in limits:
        arguments += ["--nthreads", str(max(1, math.ceil(parse(limits["cpu"]))))]
    if "memory" in limits:
        arguments += ["--memory-limit", str(int(parse(limits["memory"])))]
    container["args"] = arguments
    return made


def _scheduler(task: Task, asked: dask_pb2.DaskScheduler, cluster: str) -> Spec:
    resources = asked.resources if asked.HasField("resources") else None
    role = Role(container="scheduler", image=asked.image, resources=resources, interruptible=False)
    made = _served(template(task, _SCHEDULER, role))
    container = main(made)
    container["args"] = ["dask", "scheduler"]
    container["ports"] = [
        {"name": "tcp-comm", "containerPort": _COMM, "protocol": "TCP"},
        {"name": _TARGET, "containerPort": _DASHBOARD, "protocol": "TCP"},
    ]
    container["readinessProbe"] = deepcopy(_READY)
    ports = [
        {"name": "tcp-comm", "protocol": "TCP", "port": _COMM, "targetPort": "tcp-comm"},
        {"name": _TARGET, "protocol": "TCP", "port": _DASHBOARD, "targetPort": _TARGET},
    ]
    selector = {"dask.org/cluster-name": cluster, "dask.org/component": "scheduler"}
    return {**made, "service": {"type": "ClusterIP", "selector": selector, "ports": ports}}


def _served(made: Spec) -> Spec:
    """Pods of a Deployment: it takes no others than those that are started again."""
    made["spec"]["restartPolicy"] = "Always"
    main(made).pop("command", None)
    return made


def _report(job: Object) -> Report:
    status: Mapping[str, Any] = job.get("status") or {}
    started, ended = instant(_utc(status.get("startTime"))), instant(_utc(status.get("endTime")))
    match status.get("jobStatus") or "":
        case "":
            return Report(Stage.QUEUED)
        case "JobCreated" | "ClusterCreated":
            return Report(Stage.INITIALIZING)
        case "Successful":
            return Report(Stage.SUCCEEDED, started_at=started, ended_at=ended)
        case "Failed":
            found = failure("the Dask job failed", "DownstreamSystemError")
            return replace(found, started_at=started, ended_at=ended)
        case _:
            return Report(Stage.RUNNING, started_at=started)


def _utc(text: str | None) -> str | None:
    """A time as the operator writes it; some of its versions leave out that it is UTC."""
    return f"{text}Z" if text and "T" in text and not text.endswith("Z") and "+" not in text else text
