"""What the SDK's remote API says of runs."""

from typing import Any

import pytest

from .user import Told, User


@pytest.fixture(scope="module")
def told(user: User) -> Told:
    return user.python("remote.py")


@pytest.mark.parametrize(
    ("key", "tasks"),
    [
        ("all", ["sleeps", "ok", "parent_of_fails", "sleeps"]),
        ("ok", ["ok"]),
        ("failed", ["parent_of_fails"]),
        ("ended", ["sleeps", "ok", "parent_of_fails"]),
        ("newest first", ["sleeps", "parent_of_fails", "ok", "sleeps"]),
        ("limited", ["sleeps"]),
        ("before", []),
        ("later", []),
    ],
)
def test_lists_of_runs(told: Told, key: str, tasks: list[str]) -> None:
    assert told["filters"][key] == tasks


def test_a_watch_goes_on_to_the_end(told: Told) -> None:
    assert told["running"] == "ActionPhase.RUNNING"
    assert told["watched"] == ["running", "succeeded"]


def test_times_are_those_of_the_task(told: Told) -> None:
    times: dict[str, Any] = told["times"]
    assert [phase for phase in times["phases"] if phase != "initializing"] == ["queued", "running", "succeeded"]
    assert 0.5 <= times["running"] <= times["runtime"] < 60


def test_what_failed_and_why(told: Told) -> None:
    assert told["failure"] == {"task": "remote.fails", "message": "no 2", "code": "ValueError", "text": "no 2"}
    assert told["failed"] == ["remote.parent_of_fails", "remote.fails"]


def test_why_a_run_was_aborted(told: Told) -> None:
    assert (told["endless"]["phase"], told["endless"]["abort"]) == ("ABORTED", "that is long enough")
    assert told["aborted"].endswith("was aborted: that is long enough")


def test_the_code_of_a_run(told: Told) -> None:
    """Case O13."""
    assert told["code"] == ["remote.py", "telling.py"]


def test_several_outputs(told: Told) -> None:
    assert told["named"] == "remote.ok"
    assert told["ok"]["outputs"] == [5, "5"]
