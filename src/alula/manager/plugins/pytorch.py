"""PyTorch, elastic or not, by Kubeflow's training operator (executor.md 4.6)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from flyteidl2.plugins import common_pb2, pytorch_pb2
from flyteidl2.plugins.kubeflow import pytorch_pb2 as kubeflow_pb2

from alula.kube.objects import PODS, Kind, Object
from alula.manager.jobspec import kubeflow, names
from alula.manager.jobspec.custom import parsed
from alula.manager.jobspec.roles import Spec
from alula.manager.jobspec.verdict import weighed
from alula.manager.plugins.base import BadTask, Seen, Task

_MASTER, _WORKER = "master", "worker"
_CONTAINER = "pytorch"


@dataclass(frozen=True, slots=True)
class _Wish:
    """A task's own part, whichever version it is of."""

    workers: common_pb2.CommonReplicaSpec
    master: common_pb2.CommonReplicaSpec
    elastic: kubeflow_pb2.ElasticConfig | None
    policy: Spec


@dataclass(frozen=True, slots=True)
class PyTorchPlugin:
    """The pods of a job find each other by the variables that the operator gives them."""

    types: ClassVar[Sequence[str]] = ("pytorch",)
    kind: ClassVar[Kind] = Kind("kubeflow.org", "v1", "PyTorchJob", "pytorchjobs")
    parts: ClassVar[Sequence[Kind]] = (PODS,)

    def build(self, task: Task) -> Object:
        """See `Plugin.build`. An elastic job has workers alone: any of them may lead."""
        wish = _wish(task)
        kubeflow.at_least_one(task, "workers", wish.workers.replicas)
        roles = {"Worker": kubeflow.replicas(task, _WORKER, _CONTAINER, wish.workers)}
        spec: Spec = {"runPolicy": wish.policy, "pytorchReplicaSpecs": roles}
        if wish.elastic is None:
            roles["Master"] = kubeflow.replicas(task, _MASTER, _CONTAINER, wish.master, interruptible=False)
        else:
            spec |= _elastic(wish.elastic)
        return {
            "apiVersion": self.kind.api_version,
            "kind": self.kind.kind,
            "metadata": {"name": names.label(task.request.name)},
            "spec": spec,
        }

    def observe(self, task: Task, found: Object, parts: Sequence[Object], now: datetime) -> Seen:
        """See `Plugin.observe`."""
        return weighed(task, found, kubeflow.report(found), parts, now, (_MASTER, _WORKER))


def _elastic(asked: kubeflow_pb2.ElasticConfig) -> Spec:
    policy = {
        "rdzvBackend": asked.rdzv_backend or "c10d",
        "minReplicas": asked.min_replicas,
        "maxReplicas": asked.max_replicas,
        "maxRestarts": asked.max_restarts,
    }
    found: Spec = {"elasticPolicy": {key: value for key, value in policy.items() if value or key == "maxRestarts"}}
    return {**found, "nprocPerNode": str(asked.nproc_per_node)} if asked.nproc_per_node else found


def _wish(task: Task) -> _Wish:
    match task.template.task_type_version:
        case 0:
            return _first_version(parsed(task, pytorch_pb2.DistributedPyTorchTrainingTask()))
        case 1:
            return _second_version(parsed(task, kubeflow_pb2.DistributedPyTorchTrainingTask()))
        case other:
            raise BadTask(f"the task {task.template.id.name} is of version {other} of pytorch; 0 and 1 are known")


def _first_version(job: pytorch_pb2.DistributedPyTorchTrainingTask) -> _Wish:
    elastic = None
    if job.HasField("elastic_config"):
        elastic = kubeflow_pb2.ElasticConfig.FromString(job.elastic_config.SerializeToString())  # the same fields
    return _Wish(kubeflow.number(job.workers), kubeflow.number(1), elastic, kubeflow.run_policy(None))


def _second_version(job: kubeflow_pb2.DistributedPyTorchTrainingTask) -> _Wish:
    master = kubeflow.said(job.master_replicas)
    master.replicas = 1  # there is one, whatever is asked for
    policy = kubeflow.run_policy(job.run_policy if job.HasField("run_policy") else None)
    elastic = job.elastic_config if job.HasField("elastic_config") else None
    return _Wish(kubeflow.said(job.worker_replicas), master, elastic, policy)
