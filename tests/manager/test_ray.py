"""Ray jobs: what is built, and what is seen of them."""

import pytest

from alula.core.taskaction import Stage
from alula.kube.objects import Object
from alula.manager.plugins.base import BadTask
from alula.manager.plugins.ray import RayPlugin

from .cases import Case, cases, load
from .jobs import NAME, Row, at, checked, customized, job, member, preempted, pulls, ran, roomless, runs, starts, swept
from .statuses import Status, ago, ended, pod, running

PLUGIN = RayPlugin(dashboard="https://ray.example.org/{{ .namespace }}/{{ .rayClusterName }}")
S = Stage


@pytest.fixture(params=cases("ray_"), ids=lambda path: path.stem)
def case(request: pytest.FixtureRequest) -> Case:
    return load(request.param)


def test_a_job_is_the_one_in_its_golden_file(case: Case) -> None:
    case.check(PLUGIN.build(case.task))


def ray(deployed: str, of_job: str = "", reason: str = "", message: str = "") -> Object:
    """A RayJob with a status as KubeRay writes it."""
    status: Status = {
        "jobDeploymentStatus": deployed,
        "jobStatus": of_job,
        "reason": reason,
        "message": message,
        "jobId": "r1-a0-x7k2p",
        "rayClusterName": f"{NAME}-b8s2q",
        "dashboardURL": f"{NAME}-b8s2q-head-svc.work.svc.cluster.local:8265",
        "startTime": ago(60),
    }
    if of_job in ("RUNNING", "SUCCEEDED", "FAILED"):
        status["rayJobInfo"] = {"startTime": ago(30)} | ({} if of_job == "RUNNING" else {"endTime": ago(10)})
    return job({key: value for key, value in status.items() if value})


HEAD, WORKER, SUBMITTER = runs("head", "b8s2q-head-x"), runs("worker", "b8s2q-w-worker-x"), runs("submitter", "abcde")
DASHBOARD = f"https://ray.example.org/work/{NAME}-b8s2q"
LOST = "JobDeploymentStatusTransitionGracePeriodExceeded"

ROWS = [
    Row("nobody has seen it", job(), S.QUEUED, again=30),
    Row("nobody has seen it for long", job(created=90), S.QUEUED, text="is its operator running?"),
    Row("its cluster starts", ray("Initializing"), S.INITIALIZING, pods=[starts("head", "h")]),
    Row("no node for its head", ray("Initializing"), S.WAITING, pods=[roomless("head", "h")], text="Insufficient cpu"),
    Row("no node for a worker", ray("Initializing"), S.WAITING, pods=[HEAD, roomless("worker", "w")]),
    Row("the head's image is pulled again", ray("Initializing"), S.INITIALIZING, pods=[pulls("head", "h")], again=160),
    Row(
        "the head's image is not to be had",
        ray("Initializing"),
        S.FAILED,
        "ContainersNotReady|ImagePullBackOff",
        [pulls("head", "h", since=200)],
        text=f"the pod {NAME}-h: the container",
    ),
    Row(
        "a worker's image is not to be had",
        ray("Running", "RUNNING"),
        S.FAILED,
        "ContainersNotReady|ImagePullBackOff",
        [HEAD, pulls("worker", "w", since=200)],
    ),
    Row("it is submitted", ray("Running", "PENDING"), S.INITIALIZING, pods=[HEAD, WORKER]),
    Row("it runs", ray("Running", "RUNNING"), S.RUNNING, pods=[HEAD, WORKER, SUBMITTER], links=[DASHBOARD]),
    Row(
        "it runs without one of its workers",
        ray("Running", "RUNNING"),
        S.RUNNING,
        pods=[HEAD, ran("worker", "w", 137, "OOMKilled"), roomless("worker", "v")],
        text="Insufficient cpu",
        links=[DASHBOARD],
    ),
    Row(
        "its head ran out of memory",
        ray("Running", "RUNNING"),
        S.FAILED,
        "OOMKilled",
        [WORKER, ran("head", "h", 137, "OOMKilled")],
    ),
    Row("its head was preempted", ray("Running", "RUNNING"), S.FAILED, "Interrupted system", [preempted("head", "h")]),
    Row("it is suspended", ray("Suspended"), S.WAITING, text="suspended"),
    Row("it is something new", ray("Levitating", message="high"), S.INITIALIZING, text="high"),
    Row("it succeeded", ray("Complete", "SUCCEEDED"), S.SUCCEEDED, pods=[swept("head", "h")]),
    Row("somebody stopped it", ray("Complete", "STOPPED"), S.FAILED, "RayJobStopped"),
    Row(
        "the task failed",
        ray("Failed", "FAILED", "AppFailed", "Job entrypoint command failed with exit code 1"),
        S.FAILED,
        "TaskFailedWithError",
        [swept("head", "h"), ran("submitter", "s", 1)],
        text="AppFailed: Job entrypoint command failed with exit code 1",
    ),
    Row(
        "the task failed as a worker ran out of memory",
        ray("Failed", "FAILED", "AppFailed", "exit code 1"),
        S.FAILED,
        "OOMKilled",
        [HEAD, ran("worker", "w", 137, "OOMKilled")],
    ),
    Row("it was not submitted", ray("Failed", "", "SubmissionFailed"), S.FAILED, "SubmissionFailed system"),
    Row("KubeRay lost sight of it", ray("Failed", "RUNNING", LOST), S.FAILED, f"{LOST} system"),
    Row("it is wrong", ray("ValidationFailed", message="no"), S.FAILED, "BadTaskSpecification for good"),
    Row("it is wrong, newer", ray("Failed", "", "ValidationFailed"), S.FAILED, "BadTaskSpecification for good"),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_what_is_seen(row: Row) -> None:
    checked(PLUGIN, row)


def test_times_are_those_of_the_job_and_not_of_its_cluster() -> None:
    state = checked(PLUGIN, Row("", ray("Complete", "SUCCEEDED"), S.SUCCEEDED)).state
    assert (state.started_at, state.ended_at) == (at(30), at(10))


def test_pods_of_other_attempts_are_passed_over() -> None:
    other = member("head", "other", pod("Failed", ended(1)), attempt="r1-a0.0123456789ab.2")
    state = checked(PLUGIN, Row("", ray("Running", "RUNNING"), S.RUNNING, pods=[other, HEAD], links=[DASHBOARD])).state
    assert [(one.name, one.primary) for one in state.pods] == [(HEAD["metadata"]["name"], "primary")]


def test_what_the_task_prints_stands_first() -> None:
    name = "ray-job-submitter"
    submitter = member("submitter", "abcde", pod("Running", running(), primary=name, names=(name,)))
    state = checked(
        PLUGIN, Row("", ray("Running", "RUNNING"), S.RUNNING, pods=[HEAD, submitter], links=[DASHBOARD])
    ).state
    assert [one.name for one in state.pods] == [f"{NAME}-abcde", f"{NAME}-b8s2q-head-x"]


def test_without_a_template_there_is_no_link() -> None:
    assert checked(RayPlugin(), Row("", ray("Running", "RUNNING"), S.RUNNING)).state.links == ()


@pytest.mark.parametrize(
    ("custom", "message"),
    [
        ({"rayCluster": {"workerGroupSpec": [{"replicas": 1}]}}, "without a name"),
        ({"rayCluster": {"workerGroupSpec": [{"replicas": "many"}]}}, "is no RayJob"),
        ({"rayCluster": {}, "runtimeEnv": "!"}, "no JSON in base64"),
    ],
)
def test_what_cannot_be_is_refused(custom: dict[str, object], message: str) -> None:
    with pytest.raises(BadTask, match=message):
        PLUGIN.build(customized(PLUGIN, custom))
