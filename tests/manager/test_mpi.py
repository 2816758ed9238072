"""MPI jobs: what is built, and what is seen of them."""

import pytest

from alula.core.taskaction import Stage
from alula.manager.plugins.base import BadTask
from alula.manager.plugins.mpi import MPIPlugin

from .cases import Case, cases, load
from .jobs import Row, at, checked, customized, job, kubeflow, preempted, pulls, ran, roomless, runs, starts, swept

PLUGIN = MPIPlugin()
S = Stage


@pytest.fixture(params=cases("mpi_"), ids=lambda path: path.stem)
def case(request: pytest.FixtureRequest) -> Case:
    return load(request.param)


def test_a_job_is_the_one_in_its_golden_file(case: Case) -> None:
    case.check(PLUGIN.build(case.task))


ROWS = [
    Row("nobody has seen it", job(), S.QUEUED, again=30),
    Row("it was taken up", kubeflow("Created"), S.INITIALIZING, pods=[starts("launcher", "launcher-0")]),
    Row(
        "no node for a pod", kubeflow("Created"), S.WAITING, pods=[roomless("worker", "worker-1")], text="Insufficient"
    ),
    Row("it runs", kubeflow("Created", "Running"), S.RUNNING, pods=[runs("launcher", "launcher-0")]),
    Row("it restarts", kubeflow("Created", "Restarting"), S.RUNNING, text="JobRestarting"),
    Row("it is suspended", kubeflow("Created", "Suspended"), S.WAITING, text="JobSuspended"),
    Row(
        "an image is pulled again",
        kubeflow("Created"),
        S.INITIALIZING,
        pods=[pulls("worker", "worker-0")],
        text="ImagePullBackOff",
        again=160,
    ),
    Row(
        "an image is not to be had",
        kubeflow("Created", "Running"),
        S.FAILED,
        "ContainersNotReady|ImagePullBackOff",
        [runs("launcher", "launcher-0"), pulls("worker", "worker-1", since=200)],
    ),
    Row(
        "a pod failed, and the operator is late",
        kubeflow("Created", "Running"),
        S.FAILED,
        "ContainerFailed",
        [ran("launcher", "launcher-0", 1)],
        text="said 1",
    ),
    Row(
        "a pod that failed starts again",
        kubeflow("Created", "Running"),
        S.RUNNING,
        pods=[ran("launcher", "launcher-0", 1, restarts="OnFailure")],
    ),
    Row(
        "a pod was preempted",
        kubeflow("Running"),
        S.FAILED,
        "Interrupted system",
        [preempted("launcher", "launcher-0")],
    ),
    Row("it succeeded", kubeflow("Succeeded"), S.SUCCEEDED, pods=[ran("launcher", "l"), swept("worker", "worker-0")]),
    Row("it succeeded, the rest was ended", kubeflow("Succeeded"), S.SUCCEEDED, pods=[ran("worker", "worker-0", 143)]),
    Row(
        "it failed, and the first to fail tells why",
        kubeflow("Failed"),
        S.FAILED,
        "OOMKilled",
        [ran("launcher", "launcher-0", 1, at=3), ran("worker", "worker-1", 137, "OOMKilled", at=9)],
        text="JobFailed: of one",
    ),
    Row("it failed, and its pods are gone", kubeflow("Failed"), S.FAILED, "DownstreamSystemError", text="JobFailed"),
    Row(
        "it is wrong",
        kubeflow("Failed", reason="MPIJobFailedValidation"),
        S.FAILED,
        "BadTaskSpecification for good",
        text="FailedValidation",
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_what_is_seen(row: Row) -> None:
    checked(PLUGIN, row)


def test_an_evicted_job_is_not_its_authors_fault() -> None:
    evicted = kubeflow("Failed", reason="MPIJobEvicted", message="2 pods are evicted")
    state = checked(PLUGIN, Row("", evicted, S.FAILED, "Interrupted system", text="2 pods are evicted")).state
    assert state.ended_at == at(2)


def test_a_worker_that_ends_does_not_end_the_job() -> None:
    pods = [runs("launcher", "launcher"), ran("worker", "worker-0", 1)]
    checked(PLUGIN, Row("", kubeflow("Running"), S.RUNNING, pods=pods))


@pytest.mark.parametrize(
    ("version", "custom", "message"),
    [
        (0, {"slots": 2}, "0 replicas of workers"),
        (1, {}, "0 replicas of workers"),
        (1, {"slots": "two"}, "is no DistributedMPITrainingTask"),
        (3, {}, "version 3 of mpi"),
    ],
)
def test_what_cannot_be_is_refused(version: int, custom: dict[str, object], message: str) -> None:
    with pytest.raises(BadTask, match=message):
        PLUGIN.build(customized(PLUGIN, custom, version))
