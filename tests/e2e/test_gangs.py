"""Clustered tasks of the SDK: their workers are one process tree of this machine."""

import pytest

from .user import Told, User


@pytest.fixture(scope="module")
def told(user: User) -> Told:
    return user.python("gangs.py")


def test_workers_of_all_replicas_run_and_are_restarted_together(told: Told) -> None:
    assert told["restarted"]["outputs"] == ["rank 0 of 4, restart 1"]
    assert len(told["restarted"]["attempts"]) == 1
    for rank in range(4):
        assert f"rank {rank} of 4, restart 1" in told["restarted"]["log"]


def test_when_there_are_no_restarts_left_the_attempt_has_failed(told: Told) -> None:
    assert told["failed"]["phase"] == "FAILED"
    assert told["failed"]["error"]["code"] == "ContainerFailed"
    assert "ValueError: a worker fails" in told["failed"]["error"]["message"]


def test_jax_is_one_process(told: Told) -> None:
    assert told["alone"]["outputs"] == ["rank 0 of 1 at localhost"]


def test_what_is_too_large_or_missing_is_told(told: Told) -> None:
    assert told["together"]["error"]["code"] == "Unsupported"
    assert "2 machines" in told["together"]["error"]["message"]
    assert "command not found: torchrun" in told["lacks"]["error"]["message"]
