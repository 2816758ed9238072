"""Tasks that are deployed, and run by their names."""

import pytest

from .user import Told, User


@pytest.fixture(scope="module")
def deployed(user: User) -> str:
    """Two versions of the same tasks; the first one's."""
    printed = user.flyte("deploy", "--version", "first", "deployed.py", "env")
    assert "deployed.double" in printed
    user.flyte("deploy", "--version", "second", "deployed.py", "env")
    return "first"


@pytest.fixture(scope="module")
def told(user: User, deployed: str) -> Told:
    return user.python("by_name.py")


def test_a_script_runs_them(told: Told) -> None:
    assert told["double"]["outputs"] == [42]
    assert told["offset"]["outputs"] == [47]


def test_tasks_call_them(told: Told) -> None:
    assert told["by_name"]["outputs"] == [[8, 9]]
    assert told["calls"]["outputs"] == [23]


def test_what_is_known_of_them(told: Told) -> None:
    assert told["version"] == "second"
    assert told["listed"] == ["deployed.by_name", "deployed.double"]
    assert (told["required"], told["defaults"]) == (["x"], ["offset"])


def test_one_that_was_never_deployed(told: Told) -> None:
    assert told["missing"] == "RemoteTaskNotFoundError"


@pytest.mark.parametrize(("task", "result"), [("deployed.double", 8), ("deployed.double:first", 8)])
def test_the_command_runs_them(user: User, deployed: str, task: str, result: int) -> None:
    run = user.start("deployed-task", task, "--x", "4")
    assert user.outputs(run) == f"ActionOutputs(o0={result})"


def test_the_command_lists_them(user: User, deployed: str) -> None:
    tasks = user.json("get", "task")
    assert {(t["taskId"]["name"], t["taskId"]["version"]) for t in tasks} >= {
        ("deployed.double", "second"),
        ("deployed.by_name", "second"),
    }
