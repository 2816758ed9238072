"""TensorFlow with its own roles, by Kubeflow's training operator (executor.md 4.6)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from flyteidl2.plugins import common_pb2, tensorflow_pb2
from flyteidl2.plugins.kubeflow import tensorflow_pb2 as kubeflow_pb2

from alula.kube.objects import PODS, Kind, Object
from alula.manager.jobspec import kubeflow, names
from alula.manager.jobspec.custom import parsed
from alula.manager.jobspec.roles import Spec
from alula.manager.jobspec.verdict import weighed
from alula.manager.plugins.base import BadTask, Seen, Task

_ROLES = {"Chief": "chief", "Worker": "worker", "PS": "ps", "Evaluator": "evaluator"}  # the operator's name, ours
_CONTAINER = "tensorflow"


@dataclass(frozen=True, slots=True)
class TensorFlowPlugin:
    """Every role runs the task; ``TF_CONFIG``, from the operator, tells it which it is."""

    types: ClassVar[Sequence[str]] = ("tensorflow",)
    kind: ClassVar[Kind] = Kind("kubeflow.org", "v1", "TFJob", "tfjobs")
    parts: ClassVar[Sequence[Kind]] = (PODS,)

    def build(self, task: Task) -> Object:
        """See `Plugin.build`."""
        roles, policy = _wish(task)
        kubeflow.at_least_one(task, "workers", roles["Worker"].replicas)
        made = {
            kind: kubeflow.replicas(task, _ROLES[kind], _CONTAINER, asked)
            for kind, asked in roles.items()
            if asked.replicas
        }
        return {
            "apiVersion": self.kind.api_version,
            "kind": self.kind.kind,
            "metadata": {"name": names.label(task.request.name)},
            "spec": {"runPolicy": policy, "tfReplicaSpecs": made},
        }

    def observe(self, task: Task, found: Object, parts: Sequence[Object], now: datetime) -> Seen:
        """See `Plugin.observe`."""
        return weighed(task, found, kubeflow.report(found), parts, now, tuple(_ROLES.values()))


def _wish(task: Task) -> tuple[Mapping[str, common_pb2.CommonReplicaSpec], Spec]:
    match task.template.task_type_version:
        case 0:
            old = parsed(task, tensorflow_pb2.DistributedTensorflowTrainingTask())
            counts = (old.chief_replicas, old.workers, old.ps_replicas, old.evaluator_replicas)
            return dict(zip(_ROLES, map(kubeflow.number, counts), strict=True)), kubeflow.run_policy(None)
        case 1:
            job = parsed(task, kubeflow_pb2.DistributedTensorflowTrainingTask())
            asked = (job.chief_replicas, job.worker_replicas, job.ps_replicas, job.evaluator_replicas)
            policy = kubeflow.run_policy(job.run_policy if job.HasField("run_policy") else None)
            return dict(zip(_ROLES, map(kubeflow.said, asked), strict=True)), policy
        case other:
            raise BadTask(f"the task {task.template.id.name} is of version {other} of tensorflow; 0 and 1 are known")
