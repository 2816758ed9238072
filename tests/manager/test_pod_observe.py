"""What pods tell: one row for each situation, and what else is said of an end."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from lightkube.models.core_v1 import PodStatus

from alula.core.taskaction import Cause, Container, Link, Pod, Stage
from alula.manager.plugins.base import Seen, Task
from alula.manager.plugins.pod import PodPlugin
from alula.manager.podspec.copilot import UPLOAD
from alula.manager.podspec.observe import observe
from alula.manager.podspec.settings import PodSettings

from .cases import REQUEST, task_template
from .situations import FAILED, LOST, LOW, PENDING, RAW, ROOMLESS, RUNNING, SUCCEEDED, Row
from .statuses import NOW, ago, ended, placed, pod, running, unplaced

USUAL = PodSettings(pending_timeout=timedelta(minutes=30), creating_timeout=timedelta(minutes=20))
ROWS = [*PENDING, *RUNNING, *SUCCEEDED, *FAILED, *RAW]


def code(cause: Cause | None) -> str:
    if cause is None:
        return ""
    return cause.code + " system" * cause.system + " for good" * (not cause.recoverable)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_what_a_pod_tells(row: Row) -> None:
    seen = observe(row.pod, USUAL, NOW)
    assert (seen.state.stage, code(seen.state.cause)) == (row.stage, row.code)
    assert (seen.state.stage is Stage.FAILED) == (seen.state.cause is not None)
    if row.again is not None:
        assert seen.look_again == NOW + timedelta(seconds=row.again)
    if seen.state.stage.over:
        assert seen.look_again is None
        assert seen.state.reason or seen.state.stage is Stage.SUCCEEDED


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_a_situation_is_one_that_a_pod_can_be_in(row: Row) -> None:
    """By the types of the API: nothing is misspelled here."""
    told = row.pod["status"]
    assert msgspec.to_builtins(msgspec.convert(told, PodStatus)) == without_nothing(told)


def without_nothing(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nothing(item) for key, item in value.items() if item is not None}
    return [without_nothing(item) for item in value] if isinstance(value, list) else value


_SAYS_ITSELF = ("ContainerFailed", "InvalidInput", "InvalidOutput")  # what to do is in the program's own words


@pytest.mark.parametrize("row", [row for row in ROWS if row.stage is Stage.FAILED], ids=lambda row: row.what)
def test_a_failure_says_what_to_do(row: Row) -> None:
    cause = observe(row.pod, USUAL, NOW).state.cause
    assert cause is not None
    assert ("What to do: " in cause.message) == (cause.code not in _SAYS_ITSELF)


def test_what_a_container_beside_it_ran_out_of_is_said() -> None:
    row = next(row for row in RUNNING if row.what.startswith("a container beside it"))
    cause = observe(row.pod, USUAL, NOW).state.cause
    assert cause is not None
    assert cause.message.endswith("Beside it proxy ran out of memory: give it more")


def test_what_is_about_to_end_a_pod_is_seen_before_it_is_gone() -> None:
    row = next(row for row in RUNNING if row.what == "the cluster is about to take its node")
    reason = observe(row.pod, USUAL, NOW).state.reason
    assert reason == "the cluster is about to end the pod (DeletionByTaintManager: NoExecute taint)"


def test_there_is_a_row_for_every_situation() -> None:
    assert len({row.what for row in ROWS}) >= 45


@pytest.mark.parametrize("row", [row for row in PENDING if row.again], ids=lambda row: row.what)
def test_what_waits_is_looked_at_again_when_the_clock_alone_changes_it(row: Row) -> None:
    first = observe(row.pod, USUAL, NOW)
    assert first.look_again is not None
    assert observe(row.pod, USUAL, first.look_again - timedelta(seconds=1)).state.stage is row.stage
    assert observe(row.pod, USUAL, first.look_again).state.stage is Stage.FAILED


def test_who_waits_without_a_timeout_waits() -> None:
    waits = pod("Pending", conditions=unplaced("Unschedulable", ROOMLESS), created=10**6)
    assert observe(waits, PodSettings(), NOW) == observe(waits, PodSettings(), NOW + timedelta(days=9))


def test_what_is_told_of_an_end() -> None:
    """When it began and ended, how, its last words, and where its logs are."""
    init = {"prepare": ended(0, began=30, at=25), "mesh": running(24)}
    seen: Seen = observe(
        pod(
            "Running", ended(3, message="ValueError: no\n"), init=init, sidecars=["mesh"], beside={"proxy": running(19)}
        ),
        USUAL,
        NOW,
    )
    state = seen.state
    assert (state.started_at, state.ended_at) == (NOW - timedelta(seconds=20), NOW - timedelta(seconds=5))
    assert state.exit_code == 3
    assert state.cause is not None
    assert state.cause.message == "the container primary ended with exit code 3; its last words:\nValueError: no"
    assert state.pods == (
        Pod(
            "r1-a0.0123456789ab.1",
            "work",
            (
                Container("prepare", True, NOW - timedelta(seconds=30), NOW - timedelta(seconds=25)),
                Container("mesh", True, NOW - timedelta(seconds=24)),
                Container("primary", False, NOW - timedelta(seconds=20), NOW - timedelta(seconds=5)),
                Container("proxy", False, NOW - timedelta(seconds=19)),
            ),
            "primary",
        ),
    )


def test_the_end_of_a_raw_container_is_that_of_its_upload() -> None:
    state = observe(
        pod("Succeeded", ended(0, at=10), init={UPLOAD: ended(0, at=3)}, sidecars=[UPLOAD]), USUAL, NOW
    ).state
    assert (state.ended_at, state.exit_code) == (NOW - timedelta(seconds=3), 0)


def test_a_time_that_the_kubelet_does_not_know_is_none() -> None:
    told = ended(137, "ContainerStatusUnknown", LOST)
    told["state"]["terminated"] |= {"startedAt": "1970-01-01T00:00:00Z", "finishedAt": "1970-01-01T00:00:00Z"}
    state = observe(pod("Failed", told), USUAL, NOW).state
    assert (state.started_at, state.ended_at) == (None, NOW)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (pod("Failed", ended(137)), 137),
        (pod("Failed", ended(143), reason="Evicted", message=LOW), None),
        (pod("Failed", ended(137, "ContainerStatusUnknown", LOST)), None),
    ],
)
def test_an_exit_code_is_told_if_it_decided(status: dict[str, Any], code: int | None) -> None:
    """By it a task that is killed again and again is told from one whose nodes come and go."""
    assert observe(status, USUAL, NOW).state.exit_code == code


def test_last_words_are_cut() -> None:
    cause = observe(pod("Failed", ended(1, message="x" * 100_000 + "the end")), USUAL, NOW).state.cause
    assert cause is not None
    assert len(cause.message) < 5000
    assert cause.message.endswith("the end")


def test_the_message_of_an_interruption_has_all_that_the_cluster_said() -> None:
    evicted = pod("Failed", ended(143, message="bye"), reason="Evicted", message=LOW)
    cause = observe(evicted, USUAL, NOW).state.cause
    assert cause is not None
    for part in ("Evicted", LOW, "exit code 143", "bye"):
        assert part in cause.message


def test_a_pod_that_does_not_name_its_primary_container() -> None:
    """Pods that another controller makes: their container is told, or is the first."""
    made = pod("Running", running(), beside={"ray-head": ended(1)})
    del made["metadata"]["annotations"]
    assert observe(made, USUAL, NOW).state.stage is Stage.RUNNING
    assert observe(made, USUAL, NOW, "ray-head").state.stage is Stage.FAILED


def test_times_are_read_as_kubernetes_writes_them() -> None:
    assert ago(0) == "2026-11-22T12:00:00Z"


@pytest.mark.parametrize(("secret", "ours"), [("r1-a0.0123456789ab.1", True), ("another", False), ("", False)])
def test_a_secret_of_alulas_that_is_gone_is_no_fault_of_the_task(secret: str, ours: bool) -> None:
    row = next(row for row in PENDING if row.what == "its Secret does not exist")
    task = Task(replace(REQUEST, secret=secret), task_template({}), "work", USUAL)
    cause = PodPlugin().observe(task, row.pod, [], NOW).state.cause
    assert cause is not None
    assert (cause.system, cause.recoverable) == (ours, ours)
    assert 'secret "r1-a0.0123456789ab.1" not found' in cause.message


def test_where_a_pods_log_is_found_elsewhere() -> None:
    template = task_template({"metadata": {"logLinks": [{"name": "mine", "uri": "https://x/{{.podName}}"}]}})
    settings = PodSettings(
        log_links=[
            (
                "all",
                "https://y/{{ .Namespace }}/{{ .containerName }}?from={{.podUnixStartTime}}&n={{.taskRetryAttempt}}",
            ),
            ("later", "https://y/{{ .podUnixFinishTime }}"),
            ("runtime", "https://y/{{ .containerID }}"),
        ]
    )
    task = Task(REQUEST, template, "work", settings)
    runs = pod("Running", running(), conditions=placed())
    links = PodPlugin().observe(task, runs, [], NOW).state.links
    start = int(NOW.timestamp()) - 20
    assert links == (
        Link("mine", "https://x/r1-a0.0123456789ab.1"),
        Link("all", f"https://y/work/primary?from={start}&n=0"),
    )
    failed = pod("Failed", ended(1))
    failed["status"]["containerStatuses"][0]["containerID"] = "containerd://8f1d"
    over = PodPlugin().observe(task, failed, [], NOW).state.links
    assert [link.uri for link in over[2:]] == [f"https://y/{start + 15}", "https://y/8f1d"]
    assert PodPlugin().observe(task, pod("Pending"), [], NOW).state.links == ()
