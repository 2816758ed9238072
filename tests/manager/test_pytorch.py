"""PyTorch jobs: what is built, and what is seen of them."""

import pytest

from alula.core.taskaction import Stage
from alula.manager.plugins.base import BadTask
from alula.manager.plugins.pytorch import PyTorchPlugin

from .cases import Case, cases, load
from .jobs import Row, at, checked, customized, job, kubeflow, preempted, pulls, ran, roomless, runs, starts, swept

PLUGIN = PyTorchPlugin()
S = Stage


@pytest.fixture(params=cases("pytorch_"), ids=lambda path: path.stem)
def case(request: pytest.FixtureRequest) -> Case:
    return load(request.param)


def test_a_job_is_the_one_in_its_golden_file(case: Case) -> None:
    case.check(PLUGIN.build(case.task))


ROWS = [
    Row("nobody has seen it", job(), S.QUEUED, again=30),
    Row("it was taken up", kubeflow("Created"), S.INITIALIZING, pods=[starts("master", "master-0")]),
    Row(
        "no node for a pod", kubeflow("Created"), S.WAITING, pods=[roomless("worker", "worker-1")], text="Insufficient"
    ),
    Row("it runs", kubeflow("Created", "Running"), S.RUNNING, pods=[runs("master", "master-0")]),
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
        [runs("master", "master-0"), pulls("worker", "worker-1", since=200)],
    ),
    Row(
        "a pod failed, and the operator is late",
        kubeflow("Created", "Running"),
        S.FAILED,
        "ContainerFailed",
        [ran("master", "master-0", 1)],
        text="said 1",
    ),
    Row(
        "a pod that failed starts again",
        kubeflow("Created", "Running"),
        S.RUNNING,
        pods=[ran("master", "master-0", 1, restarts="OnFailure")],
    ),
    Row("a pod was preempted", kubeflow("Running"), S.FAILED, "Interrupted system", [preempted("master", "master-0")]),
    Row("it succeeded", kubeflow("Succeeded"), S.SUCCEEDED, pods=[ran("master", "l"), swept("worker", "worker-0")]),
    Row("it succeeded, the rest was ended", kubeflow("Succeeded"), S.SUCCEEDED, pods=[ran("worker", "worker-0", 143)]),
    Row(
        "it failed, and the first to fail tells why",
        kubeflow("Failed"),
        S.FAILED,
        "OOMKilled",
        [ran("master", "master-0", 1, at=3), ran("worker", "worker-1", 137, "OOMKilled", at=9)],
        text="JobFailed: of one",
    ),
    Row("it failed, and its pods are gone", kubeflow("Failed"), S.FAILED, "DownstreamSystemError", text="JobFailed"),
    Row(
        "it is wrong",
        kubeflow("Failed", reason="PyTorchJobFailedValidation"),
        S.FAILED,
        "BadTaskSpecification for good",
        text="FailedValidation",
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_what_is_seen(row: Row) -> None:
    checked(PLUGIN, row)


def test_pods_stand_in_the_order_of_their_ranks() -> None:
    pods = [runs("worker", f"worker-{rank}") for rank in (10, 2, 0)] + [runs("master", "master-0")]
    state = checked(PLUGIN, Row("", kubeflow("Running"), S.RUNNING, pods=pods)).state
    assert [pod.name.split("-")[-2:] for pod in state.pods] == [
        ["master", "0"],
        *(["worker", r] for r in ("0", "2", "10")),
    ]


def test_a_job_that_ended_says_when() -> None:
    state = checked(PLUGIN, Row("", kubeflow("Succeeded"), S.SUCCEEDED, pods=[ran("master", "master-0")])).state
    assert (state.started_at, state.ended_at) == (at(40), at(2))
    assert state.exit_code == 0


@pytest.mark.parametrize(
    ("version", "custom", "message"),
    [
        (0, {}, "0 replicas of workers"),
        (1, {"workerReplicas": {"replicas": 0}}, "0 replicas of workers"),
        (1, {"workerReplicas": 3}, "is no DistributedPyTorchTrainingTask"),
        (2, {}, "version 2 of pytorch"),
    ],
)
def test_what_cannot_be_is_refused(version: int, custom: dict[str, object], message: str) -> None:
    with pytest.raises(BadTask, match=message):
        PLUGIN.build(customized(PLUGIN, custom, version))
