"""Spark: a driver that starts its own executors, by the Spark operator (executor.md 4.3)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, ClassVar

from flyteidl2.core import tasks_pb2
from flyteidl2.plugins import spark_pb2

from alula.core.taskaction import Link, Stage
from alula.kube.objects import PODS, Kind, Object
from alula.manager.jobspec import names
from alula.manager.jobspec.custom import parsed
from alula.manager.jobspec.roles import Spec, main, template
from alula.manager.jobspec.verdict import Report, failure, weighed
from alula.manager.plugins.base import BadTask, Seen, Task
from alula.manager.podspec.build import Role
from alula.manager.podspec.statuses import instant
from alula.manager.podspec.target import draft

_DRIVER, _EXECUTOR = "driver", "executor"
_VERSION = "3.5.0"  # what the operator asks for before it takes templates of pods
# Nobody but the control plane runs a task again; to create its driver, the operator may try several times.
_RESTARTS = {
    "type": "OnFailure",
    "onFailureRetries": 0,
    "onSubmissionFailureRetries": 3,
    "onSubmissionFailureRetryInterval": 10,
}
_NO_FILE = "spark-internal"  # Spark's own word for a class that is in its image
_BY_SPARK = ("cpu", "memory")  # what Spark asks for by itself, from its configuration
_TYPES = {
    spark_pb2.SparkApplication.PYTHON: "Python",
    spark_pb2.SparkApplication.JAVA: "Java",
    spark_pb2.SparkApplication.SCALA: "Scala",
    spark_pb2.SparkApplication.R: "R",
}


@dataclass(frozen=True, slots=True)
class SparkPlugin:
    """``history`` is the URL of a history server. ``conf`` is the configuration where a task says nothing else.

    ``service_account`` is the driver's, if neither task nor run name one: a driver has to create its executors.
    """

    types: ClassVar[Sequence[str]] = ("spark",)
    kind: ClassVar[Kind] = Kind("sparkoperator.k8s.io", "v1beta2", "SparkApplication", "sparkapplications")
    parts: ClassVar[Sequence[Kind]] = (PODS,)
    history: str = ""
    conf: Mapping[str, str] = field(default_factory=dict)
    service_account: str = "spark"

    def build(self, task: Task) -> Object:
        """See `Plugin.build`. How much the pods ask for is in Spark's configuration alone."""
        job = parsed(task, spark_pb2.SparkJob())
        if not job.mainApplicationFile and not job.mainClass:
            raise BadTask(f"the task {task.template.id.name} needs a mainApplicationFile or a mainClass")
        name = names.label(task.request.name)
        conf = _conf(job, self.conf, name)
        entry = draft(task.template, task.settings.gpu_resource).main
        own_driver = job.driverPod if job.HasField("driverPod") else None
        own_executor = job.executorPod if job.HasField("executorPod") else None
        driver = _pod(task, _DRIVER, own_driver, conf)
        driver["serviceAccount"] = driver["template"]["spec"].setdefault("serviceAccountName", self.service_account)
        executor = _pod(task, _EXECUTOR, own_executor, conf)
        spec = {
            "type": _TYPES.get(job.applicationType, "Python"),
            "mode": "cluster",
            "sparkVersion": _VERSION,
            "image": entry["image"],
            "mainApplicationFile": job.mainApplicationFile or _NO_FILE,
            "mainClass": job.mainClass,
            "arguments": list(entry.get("args") or ()),
            "sparkConf": conf,
            "hadoopConf": dict(job.hadoopConf),
            "restartPolicy": dict(_RESTARTS),
            "batchScheduler": conf.get("spark.batchScheduler"),
            "imagePullSecrets": [one["name"] for one in driver["template"]["spec"].get("imagePullSecrets", ())],
            "driver": driver,
            "executor": executor,
        }
        return {
            "apiVersion": self.kind.api_version,
            "kind": self.kind.kind,
            "metadata": {"name": name},
            "spec": {key: value for key, value in spec.items() if value not in ("", None, [], {})},
        }

    def observe(self, task: Task, found: Object, parts: Sequence[Object], now: datetime) -> Seen:
        """See `Plugin.observe`. Executors come and go; the driver's end is the application's."""
        report = _report(found)
        report = replace(report, links=self._links(found, report.stage))
        return weighed(task, found, report, parts, now, (_DRIVER,))

    def _links(self, found: Object, stage: Stage) -> tuple[Link, ...]:
        status: Mapping[str, Any] = found.get("status") or {}
        address = (status.get("driverInfo") or {}).get("webUIIngressAddress") or ""
        application = status.get("sparkApplicationId") or ""
        if stage is Stage.RUNNING and address:
            return (Link("Spark Driver UI", address if "://" in address else f"http://{address}"),)
        if stage.over and self.history and application:
            return (Link("Spark History UI", f"{self.history.rstrip('/')}/history/{application}"),)
        return ()


def _pod(task: Task, name: str, own: tasks_pb2.K8sPod | None, conf: Mapping[str, str]) -> Spec:
    """The pods of a role: a template, and beside it what the operator hands to Spark as options."""
    interruptible = False if name == _DRIVER else None
    role = Role(container=f"spark-kubernetes-{name}", pod=own, interruptible=interruptible)
    made = template(task, name, role)
    container = main(made)
    for key in ("command", "args"):
        container.pop(key, None)
    container["resources"] = _others(container.get("resources") or {})
    said = {
        "cores": _number(conf, f"spark.{name}.cores"),
        "coreRequest": conf.get(f"spark.kubernetes.{name}.request.cores"),
        "coreLimit": conf.get(f"spark.kubernetes.{name}.limit.cores"),
        "memory": conf.get(f"spark.{name}.memory"),
        "memoryOverhead": conf.get(f"spark.{name}.memoryOverhead"),
        "instances": _number(conf, "spark.executor.instances") if name == _EXECUTOR else None,
        "labels": dict(made["metadata"]["labels"]),
        "annotations": dict(made["metadata"]["annotations"]),
        "image": container["image"],
        "template": made,
    }
    return {key: value for key, value in said.items() if value is not None}


def _others(resources: Mapping[str, Mapping[str, str]]) -> Spec:
    """What a container asks for that Spark does not ask for itself: GPUs, say."""
    kept = {
        kind: {name: amount for name, amount in amounts.items() if name not in _BY_SPARK}
        for kind, amounts in resources.items()
    }
    return {kind: amounts for kind, amounts in kept.items() if amounts}


def _number(conf: Mapping[str, str], key: str) -> int | None:
    text = conf.get(key)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit():
        raise BadTask(f"sparkConf: {key} is {text!r}; it has to be a whole number")
    return int(text)


def _conf(job: spark_pb2.SparkJob, usual: Mapping[str, str], name: str) -> dict[str, str]:
    found = dict(usual)
    if job.executorPath:
        found |= {"spark.pyspark.python": job.executorPath, "spark.pyspark.driver.python": job.executorPath}
    found |= job.sparkConf
    for role in (_DRIVER, _EXECUTOR):
        cores = found.get(f"spark.kubernetes.{role}.request.cores") or found.get(f"spark.{role}.cores")
        if cores:
            found.setdefault(f"spark.kubernetes.{role}.limit.cores", cores)
    found["spark.kubernetes.executor.podNamePrefix"] = name
    return dict(sorted(found.items()))


def _report(job: Object) -> Report:
    status: Mapping[str, Any] = job.get("status") or {}
    state = status.get("applicationState") or {}
    text = state.get("errorMessage") or ""
    started, ended = instant(status.get("lastSubmissionAttemptTime")), instant(status.get("terminationTime"))
    match state.get("state") or "":
        case "" | "NEW":
            return Report(Stage.QUEUED)
        case "SUBMITTED" | "PENDING_SUBMISSION" | "PENDING_RERUN" | "INVALIDATING" | "RESUMING":
            return Report(Stage.INITIALIZING)
        case "SUBMISSION_FAILED":
            return Report(Stage.INITIALIZING, f"the driver could not be submitted, the operator tries again: {text}")
        case "SUSPENDING" | "SUSPENDED":
            return Report(Stage.WAITING, "the application is suspended")
        case "COMPLETED":
            return Report(Stage.SUCCEEDED, started_at=started, ended_at=ended)
        case "FAILED":
            return replace(_failed(text), started_at=started, ended_at=ended)
        case _:  # RUNNING, SUCCEEDING, FAILING; UNKNOWN while the driver's node does not answer
            return Report(Stage.RUNNING, text, started_at=started)


def _failed(text: str) -> Report:
    return failure(f"the Spark application failed: {text or 'the operator gave no reason'}", "DownstreamSystemError")
