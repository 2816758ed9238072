"""Dask jobs: what is built, and what is seen of them."""

import pytest

from alula.core.taskaction import Stage
from alula.kube.objects import Object
from alula.manager.plugins.base import BadTask
from alula.manager.plugins.dask import DaskPlugin

from .cases import Case, cases, load
from .jobs import NAME, Row, at, checked, customized, job, preempted, pulls, ran, roomless, runs, starts, swept
from .statuses import ago

PLUGIN = DaskPlugin(dashboard="https://dask.example.org/{{ .daskSchedulerName }}")
S = Stage


@pytest.fixture(params=cases("dask_"), ids=lambda path: path.stem)
def case(request: pytest.FixtureRequest) -> Case:
    return load(request.param)


def test_a_job_is_the_one_in_its_golden_file(case: Case) -> None:
    case.check(PLUGIN.build(case.task))


def dask(status: str, *, ended: bool = False) -> Object:
    """A DaskJob with a status as its operator writes it."""
    found = {"jobStatus": status, "clusterName": NAME, "jobRunnerPodName": f"{NAME}-runner"}
    if status not in ("JobCreated", "ClusterCreated"):
        found["startTime"] = ago(40)
    return job(found | ({"endTime": ago(4)} if ended else {}))


RUNNER, SCHEDULER = runs("runner", "runner"), runs("scheduler", "scheduler")
DASHBOARD = [f"https://dask.example.org/{NAME}-scheduler"]

ROWS = [
    Row("nobody has seen it", job(), S.QUEUED, again=30),
    Row("it was taken up", dask("JobCreated"), S.INITIALIZING),
    Row("its cluster starts", dask("ClusterCreated"), S.INITIALIZING, pods=[starts("runner", "runner")]),
    Row(
        "no node for it", dask("ClusterCreated"), S.WAITING, pods=[roomless("runner", "runner")], text="3 Insufficient"
    ),
    Row("it runs", dask("Running"), S.RUNNING, pods=[RUNNER, SCHEDULER], links=DASHBOARD),
    Row(
        "a worker is started again where it was",
        dask("Running"),
        S.RUNNING,
        pods=[RUNNER, ran("worker", "w", 1, restarts="Always")],
        links=DASHBOARD,
    ),
    Row(
        "the scheduler's image is not to be had",
        dask("Running"),
        S.FAILED,
        "ContainersNotReady|ImagePullBackOff",
        [RUNNER, pulls("scheduler", "scheduler", since=200, restarts="Always")],
    ),
    Row(
        "the runner's image is pulled again",
        dask("ClusterCreated"),
        S.INITIALIZING,
        pods=[pulls("runner", "runner", since=30)],
        text="ImagePullBackOff",
        again=150,
    ),
    Row("it succeeded", dask("Successful", ended=True), S.SUCCEEDED, pods=[ran("runner", "r"), swept("worker", "w")]),
    Row(
        "the task failed",
        dask("Failed", ended=True),
        S.FAILED,
        "ContainerFailed",
        [ran("runner", "runner", 1), swept("worker", "w")],
        text="said 1",
    ),
    Row(
        "the task fails, and the operator is late",
        dask("Running"),
        S.FAILED,
        "ContainerFailed",
        [ran("runner", "r", 1)],
    ),
    Row(
        "it was preempted", dask("Failed", ended=True), S.FAILED, "Interrupted system", [preempted("runner", "runner")]
    ),
    Row(
        "a worker ran out of memory",
        dask("Failed", ended=True),
        S.FAILED,
        "OOMKilled",
        [ran("runner", "runner", 1), ran("worker", "w", 137, "OOMKilled", at=8, restarts="Always")],
    ),
    Row("it failed, and its pods are gone", dask("Failed", ended=True), S.FAILED, "DownstreamSystemError"),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_what_is_seen(row: Row) -> None:
    checked(PLUGIN, row)


def test_the_exit_code_and_the_times_are_the_runners() -> None:
    row = Row("", dask("Failed", ended=True), S.FAILED, "ContainerFailed", [ran("runner", "runner", 3)])
    state = checked(PLUGIN, row).state
    assert state.exit_code == 3
    assert state.started_at == at(40)


@pytest.mark.parametrize("custom", [{}, {"workers": {"numberOfWorkers": 0}}, {"workers": {"numberOfWorkers": "many"}}])
def test_what_cannot_be_is_refused(custom: dict[str, object]) -> None:
    with pytest.raises(BadTask, match=r"no Dask workers|is no DaskJob"):
        PLUGIN.build(customized(PLUGIN, custom))
