"""Tasks that are made for a cluster (executor.md 4.3 to 4.7), as one process tree of this machine, or why not.

What works as it is: Ray and Dask start a cluster of their own on this machine when nobody has told them of another.
What is larger than this machine is refused: to run it smaller would be something else than what was asked for.
"""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar
from zlib import crc32

from flyteidl2.core import tasks_pb2
from flyteidl2.plugins import clustered_pb2, spark_pb2
from flyteidl2.plugins.kubeflow import pytorch_pb2
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.protobuf.message import Message

from alula.core.errors import LaunchRefused

_WORKERS = 64  # of one clustered task: beyond that a machine mostly swaps

# The SDK counts restarts by what a JobSet says, and torchrun tells its workers under another name.
_WORKER = 'JOBSET_RESTART_ATTEMPT="$TORCHELASTIC_RESTART_COUNT" exec "$0" "$@"'

# Else restarted workers share a store with those before them, and look for each other at the addresses of the dead.
_FRESH = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}

# Ray keeps sockets below its temporary folder, and their paths may have 107 bytes. A descriptor of the attempt's own
# folder, which goes with the attempt, has a short path for every process while the attempt lives.
_RAY = (
    'if [ -n "$TMPDIR" ] && [ -d "/proc/$$/fd" ]; then exec 9<"$TMPDIR"; export RAY_TMPDIR="/proc/$$/fd/9"; fi; '
    'exec "$0" "$@"'
)

_OPERATORS = {"mpi": "MPI", "tensorflow": "TensorFlow", "databricks": "Databricks"}

_Spec = TypeVar("_Spec", bound=Message)


@dataclass(frozen=True, slots=True)
class Local:
    """What to run here instead: a command, and variables besides those that every task has."""

    words: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)


def local(template: tasks_pb2.TaskTemplate, words: Sequence[str]) -> Local:
    """How a task with this (rendered) command runs on one machine; a task that is made for one as it is.

    Raises:
        LaunchRefused: it needs more than one machine, or what this server does not have.
    """
    if template.type in _OPERATORS:
        raise LaunchRefused(
            f"task type {template.type!r} needs {_OPERATORS[template.type]}, and this server has only its own machine",
            code="PluginNotFound",
        )
    decide = _KINDS.get(template.type)
    return Local(tuple(words)) if decide is None else decide(template, tuple(words))


def replicas(template: tasks_pb2.TaskTemplate) -> int:
    """How many pods of a cluster the one process tree here stands for: each may use what the task asks for.

    Raises:
        LaunchRefused: the task's configuration cannot be read.
    """
    if template.type != "clustered-task":
        return 1
    return max(1, _spec(template, clustered_pb2.ClusteredTaskSpec()).replicas)


def _ray(_: tasks_pb2.TaskTemplate, words: tuple[str, ...]) -> Local:
    """`ray.init()` without an address starts a head on this machine, if no variable names another."""
    env = {"RAY_ADDRESS": "local", "RAY_DISABLE_DOCKER_CPU_WARNING": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    return Local(("sh", "-c", _RAY, *words), env)


def _spark(template: tasks_pb2.TaskTemplate, words: tuple[str, ...]) -> Local:
    """A session without a master is local; the options of the task reach it as `spark-submit` would take them."""
    job = _spec(template, spark_pb2.SparkJob())
    if job.applicationType != spark_pb2.SparkApplication.PYTHON or job.mainClass:
        raise LaunchRefused("Spark applications of another language than Python need a cluster", code="Unsupported")
    options = {"spark.ui.enabled": "false", **job.sparkConf}
    options |= {f"spark.hadoop.{name}": value for name, value in job.hadoopConf.items()}
    said = [f"{name}={value}" for name, value in options.items() if not name.startswith(_ELSEWHERE)]
    submit = ["--master", "local[*]", *(word for pair in said for word in ("--conf", pair)), "pyspark-shell"]
    return Local(words, {"PYSPARK_SUBMIT_ARGS": shlex.join(submit), "SPARK_LOCAL_IP": "127.0.0.1"})


_ELSEWHERE = ("spark.kubernetes.", "spark.master", "spark.submit.deployMode", "spark.executor.instances")


def _torch(template: tasks_pb2.TaskTemplate, words: tuple[str, ...]) -> Local:
    """torch elastic. With one node its task is an ordinary one that starts the workers itself."""
    job = _spec(template, pytorch_pb2.DistributedPyTorchTrainingTask())
    if job.HasField("elastic_config"):
        nodes = job.elastic_config.min_replicas
    else:
        nodes = max(1, job.master_replicas.replicas) + job.worker_replicas.replicas
    if nodes > 1:
        raise LaunchRefused(
            f"the task needs {nodes} machines (torch elastic's nnodes), and this server has one: use nnodes=1, and as "
            "many workers as you like (nproc_per_node)",
            code="Unsupported",
        )
    return Local(words)


def _clustered(template: tasks_pb2.TaskTemplate, words: tuple[str, ...]) -> Local:
    """Clustered tasks. All workers of all replicas are workers of one node, which `torchrun` starts and restarts."""
    job = _spec(template, clustered_pb2.ClusteredTaskSpec())
    workers = max(1, job.replicas) * max(1, job.nproc_per_node)
    if workers > _WORKERS:
        raise LaunchRefused(
            f"the task needs {workers} workers ({job.replicas} replicas of {job.nproc_per_node}), and this server's "
            f"machine has room for {_WORKERS}",
            code="Unsupported",
        )
    runtime, rest = _launcher(words)
    if runtime == "jax":
        return _jax(workers, rest)
    if runtime != "torchrun":
        raise LaunchRefused(f"clustered tasks of the runtime {runtime!r} are not known here", code="Unsupported")
    restarts = job.failure_policy.max_restarts + job.runtime.torchrun.max_restarts
    run = ["torchrun", "--standalone", f"--nproc-per-node={workers}", f"--max-restarts={restarts}", "--no-python", "--"]
    env = {"NODE_RANK": "0", "FLYTE_CLUSTERED_WORKER": "1", "JOBSET_MAX_RESTARTS": str(restarts), **_FRESH}
    return Local((*run, "sh", "-c", _WORKER, "a0", *rest), env)


def _jax(workers: int, rest: tuple[str, ...]) -> Local:
    """JAX has no launcher: the process that owns all devices of a node is the task itself."""
    if workers > 1:
        raise LaunchRefused(
            f"the task needs {workers} machines (JAX has one process on each), and this server has one: use replicas=1",
            code="Unsupported",
        )
    env = {"RANK": "0", "LOCAL_RANK": "0", "NODE_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}
    port = str(20_000 + crc32(" ".join(rest).encode()) % 10_000)  # others have others: each has its own output prefix
    place = {"MASTER_ADDR": "localhost", "MASTER_PORT": port, "JAX_COORDINATOR_ADDRESS": f"localhost:{port}"}
    return Local(("a0", *rest), {**env, **place, "FLYTE_CLUSTERED_WORKER": "1"})


def _launcher(words: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The runtime that the SDK's launcher (`clustered --runtime=jax ...`) is told of, and the words for `a0`."""
    if not words or words[0] != "clustered":
        raise LaunchRefused("the command of a clustered task has to begin with `clustered`, the SDK's launcher")
    runtime, rest = "torchrun", list(words[1:])
    if rest and rest[0].startswith("--runtime="):
        runtime = rest.pop(0).partition("=")[2]
    elif rest[:1] == ["--runtime"]:
        runtime, rest = " ".join(rest[1:2]), rest[2:]
    return runtime, tuple(rest)


def _spec(template: tasks_pb2.TaskTemplate, message: _Spec) -> _Spec:
    try:
        return ParseDict(MessageToDict(template.custom), message, ignore_unknown_fields=True)
    except ParseError as error:
        raise LaunchRefused(f"the configuration of a {template.type!r} task cannot be read: {error}") from None


_KINDS: Mapping[str, Callable[[tasks_pb2.TaskTemplate, tuple[str, ...]], Local]] = {
    "clustered-task": _clustered,
    "pytorch": _torch,
    "ray": _ray,
    "spark": _spark,
}
