"""Clustered tasks: what is built, and what is seen of them."""

import pytest

from alula.core.taskaction import Stage
from alula.kube.objects import Object
from alula.manager.plugins.base import BadTask
from alula.manager.plugins.clustered import ClusteredPlugin

from .cases import Case, cases, load
from .jobs import Row, at, checked, customized, job, preempted, pulls, ran, roomless, runs, starts, swept
from .statuses import condition

PLUGIN = ClusteredPlugin()
S = Stage


@pytest.fixture(params=cases("clustered_"), ids=lambda path: path.stem)
def case(request: pytest.FixtureRequest) -> Case:
    return load(request.param)


def test_a_job_is_the_one_in_its_golden_file(case: Case) -> None:
    case.check(PLUGIN.build(case.task))


def jobset(*held: str, restarts: int = 0, ready: int = 0, most: int = 0, reason: str = "FailedJobs") -> Object:
    """A JobSet with a status as its controller writes it."""
    group = {"name": "workers", "ready": ready, "succeeded": 0, "failed": 0, "active": 1 - ready, "suspended": 0}
    conditions = [
        condition(name, True, reason, "jobset failed due to one or more job failures", since=3) for name in held
    ]
    status = {"conditions": conditions, "restarts": restarts, "replicatedJobsStatus": [group]}
    return job(status, spec={"failurePolicy": {"maxRestarts": most}} if most else {})


RANKS = [runs("worker", "workers-0-0-abcde"), runs("worker", "workers-0-1-abcde")]

ROWS = [
    Row("nobody has seen it", job(), S.QUEUED, again=30),
    Row("its pods start", jobset(), S.INITIALIZING, pods=[starts("worker", "workers-0-0-abcde")]),
    Row(
        "no node for one of them",
        jobset(),
        S.WAITING,
        pods=[starts("worker", "w0"), roomless("worker", "w1")],
        text="cpu",
    ),
    Row("one of them runs", jobset(), S.RUNNING, pods=[RANKS[0], starts("worker", "w1")]),
    Row("it runs", jobset(ready=1), S.RUNNING, pods=RANKS),
    Row("it is suspended", jobset("Suspended"), S.WAITING),
    Row("it is started anew", jobset(restarts=1, most=3), S.RUNNING, pods=[starts("worker", "w0")], text="1 times"),
    Row(
        "a rank failed, and it may be started anew", jobset(most=3), S.RUNNING, pods=[RANKS[0], ran("worker", "w1", 1)]
    ),
    Row(
        "a rank failed for the last time",
        jobset(restarts=3, most=3),
        S.FAILED,
        "ContainerFailed",
        [ran("worker", "w1", 1)],
    ),
    Row("a rank failed, and that is it", jobset(), S.FAILED, "ContainerFailed", [RANKS[0], ran("worker", "w1", 1)]),
    Row(
        "an image is not to be had",
        jobset(most=3),
        S.FAILED,
        "ContainersNotReady|ImagePullBackOff",
        [pulls("worker", "workers-0-0-abcde", since=200)],
    ),
    Row("a rank was preempted", jobset("Failed"), S.FAILED, "Interrupted system", [*RANKS, preempted("worker", "w1")]),
    Row("a rank ran out of memory", jobset("Failed"), S.FAILED, "OOMKilled", [ran("worker", "w0", 137, "OOMKilled")]),
    Row(
        "the first rank to fail tells why",
        jobset("Failed", most=2, restarts=2),
        S.FAILED,
        "ContainerFailed",
        [ran("worker", "w0", 143, at=2), ran("worker", "w1", 7, at=6)],
        text="said 7",
    ),
    Row("it failed, and its pods are gone", jobset("Failed"), S.FAILED, "FailedJobs", text="one or more job failures"),
    Row("it succeeded", jobset("Completed"), S.SUCCEEDED, pods=[ran("worker", "w0"), swept("worker", "w1")]),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_what_is_seen(row: Row) -> None:
    checked(PLUGIN, row)


def test_a_job_that_ended_says_when() -> None:
    state = checked(PLUGIN, Row("", jobset("Completed"), S.SUCCEEDED, pods=[ran("worker", "w0")])).state
    assert state.ended_at == at(3)
    assert state.started_at


@pytest.mark.parametrize(
    ("custom", "message"),
    [
        ({"nprocPerNode": 1}, "asks for 0 replicas"),
        ({"replicas": 100_001, "nprocPerNode": 1}, "from 1 to 100000"),
        ({"replicas": 2}, "0 processes on a node"),
        ({"replicas": 2, "nprocPerNode": 1, "failurePolicy": {"maxRestarts": -1}}, "max_restarts is negative"),
        ({"replicas": "all"}, "is no ClusteredTaskSpec"),
    ],
)
def test_what_cannot_be_is_refused(custom: dict[str, object], message: str) -> None:
    with pytest.raises(BadTask, match=message):
        PLUGIN.build(customized(PLUGIN, custom))
