"""Tasks that are made for a cluster: what is started for them on one machine, and what is refused."""

import shlex
from collections.abc import Sequence
from typing import Any

import pytest
from flyte.clustered import ClusteredTaskEnvironment, ClusterFailurePolicy, JaxRun, TorchRun
from flyteidl2.core import tasks_pb2
from google.protobuf.json_format import ParseDict

from alula.core.errors import LaunchRefused
from alula.wire.clusters import Local, local, replicas

A0 = ("a0", "--inputs", "i", "--name", "x y")


def decided(kind: str, custom: dict[str, Any] | None = None, words: Sequence[str] = A0) -> Local:
    template = tasks_pb2.TaskTemplate(type=kind)
    ParseDict(custom or {}, template.custom)
    return local(template, words)


def torchrun(workers: int, restarts: int) -> tuple[str, ...]:
    worker = 'JOBSET_RESTART_ATTEMPT="$TORCHELASTIC_RESTART_COUNT" exec "$0" "$@"'
    run = ("torchrun", "--standalone", f"--nproc-per-node={workers}", f"--max-restarts={restarts}", "--no-python", "--")
    return (*run, "sh", "-c", worker, *A0)


@pytest.mark.parametrize("kind", ["python", "python-task", "container", "raw-container", "dask", "", "my-own"])
def test_what_runs_as_it_is(kind: str) -> None:
    assert decided(kind) == Local(A0)


@pytest.mark.parametrize(
    ("custom", "workers", "restarts"),
    [
        ({}, 1, 0),
        ({"replicas": 1, "nprocPerNode": 4}, 4, 0),
        ({"replicas": 2, "nproc_per_node": 2, "failurePolicy": {"maxRestarts": 2}}, 4, 2),
        ({"replicas": 1, "nprocPerNode": 1, "runtime": {"torchrun": {"rdzvBackend": "C10D", "maxRestarts": 3}}}, 1, 3),
        ({"replicas": 16, "nprocPerNode": 4, "unknown": {"to": "us"}}, 64, 0),
    ],
)
def test_clustered(custom: dict[str, Any], workers: int, restarts: int) -> None:
    found = decided("clustered-task", custom, ("clustered", *A0[1:]))
    assert found.words == torchrun(workers, restarts)
    assert found.env == {
        "NODE_RANK": "0",
        "FLYTE_CLUSTERED_WORKER": "1",
        "JOBSET_MAX_RESTARTS": str(restarts),
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
    }


@pytest.mark.parametrize(
    ("kind", "custom", "count"),
    [
        ("clustered-task", {"replicas": 16, "nprocPerNode": 4}, 16),
        ("clustered-task", {}, 1),
        ("ray", {"replicas": 16}, 1),
        ("python", {}, 1),
    ],
)
def test_how_many_pods_it_stands_for(kind: str, custom: dict[str, Any], count: int) -> None:
    template = tasks_pb2.TaskTemplate(type=kind)
    ParseDict(custom, template.custom)
    assert replicas(template) == count


@pytest.mark.parametrize("option", [["--runtime=jax"], ["--runtime", "jax"]])
def test_clustered_jax(option: list[str]) -> None:
    found = decided("clustered-task", {"replicas": 1, "nprocPerNode": 1}, ("clustered", *option, *A0[1:]))
    assert found.words == A0
    assert (found.env["RANK"], found.env["WORLD_SIZE"]) == ("0", "1")
    assert found.env["JAX_COORDINATOR_ADDRESS"] == f"localhost:{found.env['MASTER_PORT']}"
    other = decided("clustered-task", {}, ("clustered", *option, "--inputs", "of another"))
    assert other.env["MASTER_PORT"] != found.env["MASTER_PORT"]


def test_what_the_sdk_says_of_its_environments() -> None:
    """Its own serialization, so that a change of its spelling is noticed."""
    torch = ClusteredTaskEnvironment(
        name="t",
        replicas=2,
        nproc_per_node=3,
        runtime=TorchRun(max_restarts=1),
        failure_policy=ClusterFailurePolicy(max_restarts=1),
    )
    assert decided("clustered-task", torch.to_custom_dict(), ("clustered", *A0[1:])).words == torchrun(6, 2)
    jax = ClusteredTaskEnvironment(name="j", replicas=1, nproc_per_node=1, runtime=JaxRun())
    assert decided("clustered-task", jax.to_custom_dict(), ("clustered", "--runtime=jax", *A0[1:])).words == A0


@pytest.mark.parametrize(
    "custom",
    [
        {"elasticConfig": {"minReplicas": 1, "maxReplicas": 1, "nprocPerNode": 8}},
        {"elasticConfig": {"minReplicas": 1, "maxReplicas": 4}, "workerReplicas": {"replicas": 4}},
        {"masterReplicas": {"replicas": 1}},
        {},
    ],
)
def test_torch_with_one_node(custom: dict[str, Any]) -> None:
    assert decided("pytorch", custom) == Local(A0)


def test_ray_starts_its_own() -> None:
    found = decided("ray", {"rayCluster": {"workerGroupSpec": [{"groupName": "g", "replicas": 2}]}})
    assert found.words[:2] == ("sh", "-c")
    assert found.words[3:] == A0
    assert found.env["RAY_ADDRESS"] == "local"


def test_spark_is_told_its_options() -> None:
    conf = {
        "spark.driver.memory": "2g",
        "spark.kubernetes.namespace": "x",
        "spark.executor.instances": "3",
        "spark.submit.deployMode": "cluster",
        "spark.x": "with spaces; and 'quotes'",
    }
    found = decided("spark", {"applicationType": "PYTHON", "sparkConf": conf, "hadoopConf": {"fs.x": "y"}})
    said = shlex.split(found.env["PYSPARK_SUBMIT_ARGS"])
    assert found.words == A0
    assert said[:2] == ["--master", "local[*]"]
    assert said[-1] == "pyspark-shell"
    assert sorted(said[3:-1:2]) == [
        "spark.driver.memory=2g",
        "spark.hadoop.fs.x=y",
        "spark.ui.enabled=false",
        "spark.x=with spaces; and 'quotes'",
    ]


@pytest.mark.parametrize(
    ("kind", "custom", "words", "code", "reason"),
    [
        ("pytorch", {"elasticConfig": {"minReplicas": 2, "maxReplicas": 2}}, A0, "Unsupported", "2 machines.*nnodes=1"),
        ("pytorch", {"workerReplicas": {"replicas": 3}}, A0, "Unsupported", "4 machines"),
        ("pytorch", {"elasticConfig": {"minReplicas": "x"}}, A0, "BadTaskSpecification", "cannot be read"),
        ("clustered-task", {"replicas": 65, "nprocPerNode": 1}, ("clustered",), "Unsupported", "65 workers"),
        ("clustered-task", {"replicas": 2}, ("clustered", "--runtime=jax"), "Unsupported", "2 machines.*replicas=1"),
        ("clustered-task", {}, ("clustered", "--runtime=x"), "Unsupported", "runtime 'x'"),
        ("clustered-task", {}, A0, "BadTaskSpecification", "begin with `clustered`"),
        ("spark", {"applicationType": "SCALA", "mainClass": "Main"}, A0, "Unsupported", "another language"),
        ("mpi", {}, A0, "PluginNotFound", "'mpi' needs MPI"),
        ("tensorflow", {}, A0, "PluginNotFound", "'tensorflow' needs TensorFlow"),
        ("databricks", {}, A0, "PluginNotFound", "'databricks' needs Databricks"),
    ],
)
def test_what_is_refused(kind: str, custom: dict[str, Any], words: tuple[str, ...], code: str, reason: str) -> None:
    with pytest.raises(LaunchRefused, match=reason) as refused:
        decided(kind, custom, words)
    assert refused.value.code == code
