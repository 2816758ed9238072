"""What tasks may take of the machine: what the SDK says to a parent, and what the API shows of it."""

import json
import urllib.error
import urllib.request
from datetime import datetime
from typing import Any

import pytest

from .user import Told, User

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def told(user: User) -> Told:
    return user.python("resources.py")


def _usage(user: User, run: str, action: str, attempt: object = 1, *, project: str = "flytesnacks") -> Any:
    url = f"{user.url}/api/v1/usage/{project}/development/{run}/{action}/{attempt}"
    with urllib.request.urlopen(url) as answer:
        assert answer.headers["content-type"] == "application/json"
        return json.load(answer)


def test_a_parent_catches_what_ran_out_of_memory(told: Told) -> None:
    """Also when it was a child process that the kernel killed, and the task itself said something else."""
    (within, eaten, child), _, _ = told["outputs"]
    assert within == str(10 * MIB)
    assert eaten.startswith("OOMError OOMKilled: ")
    assert child.startswith("OOMError OOMKilled: ")
    assert "the task said: CalledProcessError" in child


def test_a_caller_may_ask_for_more(told: Told) -> None:
    assert told["outputs"][1] == 700 * MIB


def test_a_cpu_limit_holds(told: Told) -> None:
    assert told["outputs"][2] < 1.0, "two seconds at a quarter of a core"


def test_the_curve_of_an_attempt(told: Told, user: User) -> None:
    found = _usage(user, told["run"], "a0")
    assert found["started_at"] < found["ended_at"]
    assert found["cpu_seconds"] > 0
    assert found["peak_memory"] > MIB
    assert [sample["at"] for sample in found["samples"]] == sorted(sample["at"] for sample in found["samples"])
    assert len(found["samples"]) >= 3, "it took some seconds"
    assert all(sample["memory"] > MIB and sample["cpu"] >= 0 for sample in found["samples"])
    assert found["limits"] == {"cpu": None, "memory": None, "disk": None}


def test_the_times_of_an_attempt_are_all_of_its_time(told: Told, user: User) -> None:
    """Within 2 % of what the clock on the wall says; the queue comes before its start."""
    found = _usage(user, told["run"], "a0")
    started, ended = (datetime.fromisoformat(found[name]) for name in ("started_at", "ended_at"))
    spent = dict(found["timings"])
    assert set(spent) == {"queue", "boot", "import", "download", "user", "upload"}
    queue = spent.pop("queue")
    assert 0 <= queue < 60
    assert sum(spent.values()) == pytest.approx((ended - started).total_seconds(), rel=0.02)


@pytest.mark.parametrize(
    ("run", "attempt", "project", "code"),
    [
        ("no-such-run", 1, "flytesnacks", 404),
        (None, 2, "flytesnacks", 404),
        (None, 1, "no-such-project", 404),
        (None, 0, "flytesnacks", 400),
        (None, "first", "flytesnacks", 400),
        (None, "..%2f..%2fid", "flytesnacks", 404),
        (None, "1/2", "flytesnacks", 404),
    ],
)
def test_what_is_not_there(told: Told, user: User, run: str | None, attempt: object, project: str, code: int) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        _usage(user, run or told["run"], "a0", attempt, project=project)
    assert refused.value.code == code
    assert json.load(refused.value)["message"]
