"""The SDK's `ReusePolicy`: tasks that share processes, as their authors and the callers of them see it.

That nothing of the workers is left when the server stops is the last test of every session (see `serving`).
"""

from pathlib import Path

import pytest

from .user import Told, User


@pytest.fixture(scope="module")
def told(user: User, tmp_path_factory: pytest.TempPathFactory) -> Told:
    return user.python("reuse.py", str(tmp_path_factory.mktemp("reuse")))


def test_replicas_and_concurrency(told: Told) -> None:
    (places,) = told["places"]["outputs"]
    assert len(set(places["apart"])) == 2
    assert len(set(places["together"])) == 1


def test_a_parent_calls_many(told: Told) -> None:
    assert told["squares"]["outputs"] == [sum(x * x for x in range(200))]


def test_one_process_is_enough_for_tasks_that_wait_for_each_other(told: Told) -> None:
    assert told["nests"]["outputs"] == [3]
    assert told["function"]["outputs"] == [9]


def test_retries(told: Told) -> None:
    assert told["flaky"]["outputs"] == ["attempt 2 2"]
    assert [attempt["code"] for attempt in told["flaky"]["attempts"]] == ["ValueError", "ValueError", ""]


def test_a_crash_is_retried_for_those_who_only_shared_the_process(told: Told) -> None:
    (accidents,) = told["accidents"]["outputs"]
    assert accidents["done"] == ["done", 1]
    assert accidents["code"] == "ContainerFailed"
    assert "exited with code 7" in accidents["message"]
    assert "leaving" in accidents["message"]
    assert accidents["after"] == 9
    attempts = {child["task"]: child["attempts"] for child in told["accidents"]["children"]}
    for name in ("alone.bystander", "alone.kills"):
        assert [attempt["code"] for attempt in attempts[name]] == ["Interrupted", ""]


def test_one_of_two_is_aborted(told: Told) -> None:
    (processes,) = told["cancels"]["outputs"]
    assert len(set(processes)) == 1
    phases = {child["task"]: child["phase"] for child in told["cancels"]["children"]}
    assert phases == {"many.meets_here": "SUCCEEDED", "many.sleeps": "ABORTED", "many.goes_on": "SUCCEEDED"}


def test_timeouts(told: Told) -> None:
    assert told["too_slow"]["outputs"] == ["MaxRuntimeExceededError"]


def test_an_exception_is_its_tasks_own(told: Told) -> None:
    assert told["errs"]["outputs"] == [["ValueError", "int"]]


def test_workers_end_when_they_have_nothing_to_do(told: Told) -> None:
    first, second = told["rests"]["outputs"][0]
    assert first != second
    assert not Path(f"/proc/{first}").exists()
