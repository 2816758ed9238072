"""MPI: a launcher and its workers, by Kubeflow's training operator (executor.md 4.6)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from flyteidl2.plugins import common_pb2, mpi_pb2
from flyteidl2.plugins.kubeflow import mpi_pb2 as kubeflow_pb2

from alula.kube.objects import PODS, Kind, Object
from alula.manager.jobspec import kubeflow, names
from alula.manager.jobspec.custom import parsed
from alula.manager.jobspec.roles import Spec
from alula.manager.jobspec.verdict import weighed
from alula.manager.plugins.base import BadTask, Seen, Task

_LAUNCHER, _WORKER = "launcher", "worker"
_CONTAINER = "mpi"


@dataclass(frozen=True, slots=True)
class _Wish:
    """A task's own part, whichever version it is of. No command: the operator's for workers, the task's to launch."""

    workers: common_pb2.CommonReplicaSpec
    worker_command: list[str]
    launcher: common_pb2.CommonReplicaSpec
    launcher_command: list[str]
    slots: int
    policy: Spec


@dataclass(frozen=True, slots=True)
class MPIPlugin:
    """The launcher runs the task and reaches into the workers' pods.

    For that the operator makes it a service account. A task that names its own has to see that this may do so.
    """

    types: ClassVar[Sequence[str]] = ("mpi",)
    kind: ClassVar[Kind] = Kind("kubeflow.org", "v1", "MPIJob", "mpijobs")
    parts: ClassVar[Sequence[Kind]] = (PODS,)

    def build(self, task: Task) -> Object:
        """See `Plugin.build`."""
        wish = _wish(task)
        kubeflow.at_least_one(task, "workers", wish.workers.replicas)
        launcher = kubeflow.replicas(task, _LAUNCHER, _CONTAINER, wish.launcher, interruptible=False)
        if wish.launcher_command:
            kubeflow.commanded(launcher, [], wish.launcher_command)
        worker = kubeflow.replicas(task, _WORKER, _CONTAINER, wish.workers)
        kubeflow.commanded(worker, [], wish.worker_command)
        return {
            "apiVersion": self.kind.api_version,
            "kind": self.kind.kind,
            "metadata": {"name": names.label(task.request.name)},
            "spec": {
                "slotsPerWorker": max(wish.slots, 1),
                "runPolicy": wish.policy,
                "mpiReplicaSpecs": {"Launcher": launcher, "Worker": worker},
            },
        }

    def observe(self, task: Task, found: Object, parts: Sequence[Object], now: datetime) -> Seen:
        """See `Plugin.observe`. The launcher's end is the job's; workers only wait for it."""
        return weighed(task, found, kubeflow.report(found), parts, now, (_LAUNCHER,))


def _wish(task: Task) -> _Wish:
    match task.template.task_type_version:
        case 0:
            job = parsed(task, mpi_pb2.DistributedMPITrainingTask())
            command = task.template.config.get("worker_spec_command", "").split()
            workers, policy = kubeflow.number(job.num_workers), kubeflow.run_policy(None)
            return _Wish(workers, command, kubeflow.number(1), [], job.slots, policy)
        case 1:
            return _second_version(parsed(task, kubeflow_pb2.DistributedMPITrainingTask()))
        case other:
            raise BadTask(f"the task {task.template.id.name} is of version {other} of mpi; 0 and 1 are known")


def _second_version(job: kubeflow_pb2.DistributedMPITrainingTask) -> _Wish:
    launcher = kubeflow.said(job.launcher_replicas)
    launcher.replicas = 1
    return _Wish(
        workers=kubeflow.said(job.worker_replicas),
        worker_command=list(job.worker_replicas.command),
        launcher=launcher,
        launcher_command=list(job.launcher_replicas.command),
        slots=job.slots,
        policy=kubeflow.run_policy(job.run_policy if job.HasField("run_policy") else None),
    )
