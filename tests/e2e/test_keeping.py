"""Checkpoints, reports, and tasks that travel as pickles."""

import pytest

from .user import Told, User


@pytest.fixture(scope="module")
def told(user: User) -> Told:
    return user.python("keeping.py")


def test_an_attempt_goes_on_where_the_last_one_stopped(told: Told) -> None:
    assert told["checkpointed"]["outputs"] == [["attempt0", "attempt1", "attempt2"]]
    assert [a["message"] for a in told["checkpointed"]["attempts"]] == ["only 1", "only 2", ""]


def test_each_attempt_has_its_own_report(told: Told) -> None:
    first, last = told["reports"]
    assert "<b>report of attempt 0 ☃</b>" in first
    assert "<b>report of attempt 1 ☃</b>" in last
    assert "<i>in a tab</i>" in last
    assert "attempt 0" not in last
    assert "in a tab" not in first


def test_a_task_that_exists_only_in_the_clients_process(told: Told) -> None:
    assert told["pickled"]["outputs"] == [43]
    assert told["bundle"] is True
