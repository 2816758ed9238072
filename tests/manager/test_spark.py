"""Spark applications: what is built, and what is seen of them."""

import pytest

from alula.core.taskaction import Stage
from alula.kube.objects import Object
from alula.manager.plugins.base import BadTask
from alula.manager.plugins.spark import SparkPlugin

from .cases import Case, cases, load
from .jobs import NAME, Row, checked, customized, job, preempted, pulls, ran, roomless, runs, starts, swept
from .statuses import ago

PLUGIN = SparkPlugin(history="https://history.example.org/")
S = Stage


@pytest.fixture(params=cases("spark_"), ids=lambda path: path.stem)
def case(request: pytest.FixtureRequest) -> Case:
    return load(request.param)


def test_a_job_is_the_one_in_its_golden_file(case: Case) -> None:
    case.check(PLUGIN.build(case.task))


def spark(state: str, message: str = "", **more: object) -> Object:
    """A SparkApplication with a status as its operator writes it."""
    application = {"state": state} | ({"errorMessage": message} if message else {})
    told = {"applicationState": application, "sparkApplicationId": "spark-7f3a", "lastSubmissionAttemptTime": ago(50)}
    over = {"terminationTime": ago(5)} if state in ("COMPLETED", "FAILED") else {"terminationTime": None}
    driver = {"podName": f"{NAME}-driver", "webUIServiceName": f"{NAME}-ui-svc"}
    return job({**told, **over, "driverInfo": {**driver, **more}})


DRIVER, EXECUTOR = runs("driver", "driver"), runs("executor", "exec-1")
HISTORY = ["https://history.example.org/history/spark-7f3a"]

ROWS = [
    Row("nobody has seen it", job(), S.QUEUED, again=30),
    Row("it was submitted", spark("SUBMITTED"), S.INITIALIZING, pods=[starts("driver", "driver")]),
    Row(
        "no node for its driver",
        spark("SUBMITTED"),
        S.WAITING,
        pods=[roomless("driver", "driver")],
        text="Insufficient",
    ),
    Row(
        "a submission failed", spark("SUBMISSION_FAILED", "webhook timed out"), S.INITIALIZING, text="webhook timed out"
    ),
    Row("it is tried again", spark("PENDING_RERUN"), S.INITIALIZING),
    Row("it runs", spark("RUNNING"), S.RUNNING, pods=[DRIVER, EXECUTOR]),
    Row(
        "people can reach its UI",
        spark("RUNNING", webUIIngressAddress="spark.example.org/r1"),
        S.RUNNING,
        pods=[DRIVER],
        links=["http://spark.example.org/r1"],
    ),
    Row(
        "an executor was lost", spark("RUNNING"), S.RUNNING, pods=[DRIVER, ran("executor", "exec-1", 137, "OOMKilled")]
    ),
    Row(
        "no node for an executor",
        spark("RUNNING"),
        S.RUNNING,
        pods=[DRIVER, roomless("executor", "exec-1")],
        text="cpu",
    ),
    Row(
        "the driver's image is not to be had",
        spark("SUBMITTED"),
        S.FAILED,
        "ContainersNotReady|ImagePullBackOff",
        [pulls("driver", "driver", since=200)],
        links=[],
    ),
    Row(
        "its driver failed, and the operator is late",
        spark("RUNNING"),
        S.FAILED,
        "ContainerFailed",
        [ran("driver", "d", 1)],
    ),
    Row("its driver was preempted", spark("FAILING"), S.FAILED, "Interrupted system", [preempted("driver", "driver")]),
    Row("the driver's node is silent", spark("UNKNOWN"), S.RUNNING),
    Row("it is suspended", spark("SUSPENDED"), S.WAITING),
    Row("it is about to succeed", spark("SUCCEEDING"), S.RUNNING, pods=[ran("driver", "driver")]),
    Row(
        "it succeeded",
        spark("COMPLETED"),
        S.SUCCEEDED,
        pods=[ran("driver", "d"), swept("executor", "e")],
        links=HISTORY,
    ),
    Row(
        "the task failed",
        spark("FAILED", "driver container failed with ExitCode: 1, Reason: Error"),
        S.FAILED,
        "ContainerFailed",
        [ran("driver", "driver", 1)],
        text="driver container failed with ExitCode: 1",
        links=HISTORY,
    ),
    Row(
        "no submission succeeded",
        spark("FAILED", "failed to run spark-submit"),
        S.FAILED,
        "DownstreamSystemError",
        text="spark-submit",
        links=HISTORY,
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_what_is_seen(row: Row) -> None:
    checked(PLUGIN, row)


def test_what_the_administrator_says_is_where_the_task_says_nothing() -> None:
    plugin = SparkPlugin(conf={"spark.executor.memory": "4g", "spark.driver.cores": "2"}, service_account="drivers")
    made = plugin.build(customized(plugin, {"mainClass": "shop.Basket", "sparkConf": {"spark.driver.cores": "1"}}))[
        "spec"
    ]
    assert (made["executor"]["memory"], made["driver"]["cores"]) == ("4g", 1)
    assert made["driver"]["serviceAccount"] == "drivers"
    assert "serviceAccountName" not in made["executor"]["template"]["spec"]


@pytest.mark.parametrize(
    ("custom", "message"),
    [
        ({}, "mainApplicationFile or a mainClass"),
        ({"mainClass": "a", "sparkConf": {"spark.driver.cores": "two"}}, "'two'; it has to be a whole number"),
        ({"mainClass": "a", "sparkConf": ["b"]}, "is no SparkJob"),
    ],
)
def test_what_cannot_be_is_refused(custom: dict[str, object], message: str) -> None:
    with pytest.raises(BadTask, match=message):
        PLUGIN.build(customized(PLUGIN, custom))
