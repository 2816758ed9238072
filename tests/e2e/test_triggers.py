"""Triggers, as users of the SDK deploy them and see what becomes of them."""

import os
import time
from datetime import UTC, datetime

import pytest

from .user import Told, User


@pytest.fixture(scope="module")
def start(user: User) -> datetime:
    """Deployed with three triggers; when the first of them is due."""
    for patience in (12, 36, 80):  # what is due before it is deployed is not made up for: a busy machine takes longer
        due = int(time.time()) + patience
        os.environ["START"] = user.env["START"] = str(due)
        printed = user.flyte("deploy", "scheduled.py", "env")
        assert "scheduled.report" in printed
        del os.environ["START"], user.env["START"]
        if time.time() < due - 1:
            break
    return datetime.fromtimestamp(due, UTC)


@pytest.fixture(scope="module")
def told(user: User, start: datetime) -> Told:
    return user.python("triggers.py")


def test_it_fires(user: User, start: datetime) -> None:
    """The run that the clock starts has the time it was due at, the trigger's inputs and environment."""
    deadline = start.timestamp() + 60
    while not (runs := [run for run in user.json("get", "run", "--limit", "1000") if _trigger(run) == "soon"]):
        assert time.time() < deadline, f"it was never fired: {user.json('get', 'trigger')}"
    (run,) = runs
    name = run["action"]["id"]["run"]["name"]
    assert user.outputs(name) == f"ActionOutputs(o0=['{start.isoformat()}', '4', 'blue', \"{{'team': 'red'}}\"])"
    assert run["action"]["metadata"]["source"] == "RUN_SOURCE_SCHEDULE_TRIGGER"


def _trigger(run: Told) -> str:
    name: str = run["action"]["metadata"].get("triggerName", "")
    return name


def test_by_hand(told: Told, start: datetime) -> None:
    assert told["plain"][1:3] == ["5", ""]
    assert told["said"][1] == "6"


def test_what_is_known_of_them(told: Told) -> None:
    assert told["listed"] == [["by_hand", True], ["never", False], ["soon", True]]
    assert told["after"] is False


def test_the_command(user: User, told: Told) -> None:
    """`flyte get trigger`, and `flyte delete trigger`."""
    listed = user.json("get", "trigger")
    assert {"soon", "never", "by_hand"} <= {one["id"]["name"]["name"] for one in listed}
    user.flyte("delete", "trigger", "never", "scheduled.report")
    left = user.json("get", "trigger")
    assert "never" not in {one["id"]["name"]["name"] for one in left}
