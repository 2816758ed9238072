"""How tasks fail, what their parents and users are told, and what is executed again."""

from collections import Counter
from pathlib import Path

import psutil
import pytest

from .user import Told, User

MESSAGE = "a value error ☃\nwith a second line"


@pytest.fixture(scope="module")
def told(user: User, tmp_path_factory: pytest.TempPathFactory) -> Told:
    return user.python("failures.py", str(tmp_path_factory.mktemp("failures")))


@pytest.mark.parametrize("key", ["raises", "raises_below"])
def test_an_error_reaches_the_user_as_it_was(told: Told, key: str) -> None:
    assert told[key]["phase"] == "FAILED"
    assert told[key]["error"] == {"code": "ValueError", "message": MESSAGE, "kind": "KIND_USER"}


def test_a_parent_catches_errors_by_their_codes(told: Told) -> None:
    assert told["catches"]["outputs"] == [
        {
            "value": "ValueError True",
            "key": "KeyError True",
            "own": "OwnError True",
            "zero": "ZeroDivisionError True",
        }
    ]


def test_what_cannot_recover_is_not_tried_again(told: Told) -> None:
    assert told["hopeless"]["executions"] == ["hopeless"]
    assert told["hopeless"]["error"]["code"] == "NonRecoverableError"


def test_retries_keep_each_attempts_error_and_log(told: Told) -> None:
    """Case C10."""
    flaky = told["flaky"]
    assert flaky["outputs"] == ["attempt 2"]
    assert flaky["executions"] == ["flaky 0", "flaky 1", "flaky 2"]
    assert [(a["phase"], a["code"], a["message"]) for a in flaky["attempts"]] == [
        ("FAILED", "ValueError", "attempt 0 was too early"),
        ("FAILED", "ValueError", "attempt 1 was too early"),
        ("SUCCEEDED", "", ""),
    ]
    for number, log in enumerate(flaky["logs"]):
        assert [n for n in range(3) if f"this is attempt {n}\n" in log] == [number]
        assert ("ValueError: " in log) == (number < 2)


def test_retries_end(told: Told) -> None:
    assert told["exhausted"]["outputs"] == ["OwnError"]
    assert told["exhausted"]["executions"] == ["exhausted"] * 2
    (child,) = told["exhausted"]["children"]
    assert [attempt["code"] for attempt in child["attempts"]] == ["OwnError"] * 2


def test_a_retried_parent_keeps_what_succeeded(told: Told) -> None:
    """Case C15."""
    retried = told["retried"]
    assert retried["outputs"] == [0 + 10 + 20 + 0 + 100 + 200 + 1000]
    assert [attempt["code"] for attempt in retried["attempts"]] == ["ValueError", ""]
    once = [*(f"trace {n}" for n in range(3)), *(f"child {n}" for n in range(3))]
    assert Counter(retried["executions"]) == Counter({**dict.fromkeys(once, 1), "parent": 2, "fails first": 2})
    attempts = Counter((child["task"], len(child["attempts"])) for child in retried["children"])
    assert attempts == {("traced", 1): 3, ("failures.child", 1): 3, ("failures.fails_first", 2): 1}


def test_a_trace_that_fails(told: Told) -> None:
    assert told["catches_trace"]["outputs"] == ["ValueError: in a trace"]
    (trace,) = told["catches_trace"]["children"]
    assert (trace["task"], trace["phase"]) == ("failing_trace", "FAILED")


def test_a_process_that_is_killed_is_not_the_tasks_fault(told: Told) -> None:
    assert told["killed"]["executions"] == ["killed"] * 4
    assert told["killed"]["outputs"] == [["RuntimeSystemError", "MaxSystemFailuresExceeded"]]
    (child,) = told["killed"]["children"]
    assert [attempt["code"] for attempt in child["attempts"]] == [*["Interrupted"] * 3, "MaxSystemFailuresExceeded"]
    assert "the process was killed" in child["error"]["message"] or "code 137" in child["error"]["message"]
    assert child["error"]["kind"] == "KIND_SYSTEM"


def test_an_exit_code_is_told_with_the_end_of_the_log(told: Told) -> None:
    error = told["exits"]["error"]
    assert (error["code"], error["kind"]) == ("ContainerFailed", "KIND_USER")
    assert "code 3" in error["message"]
    assert "leaving with 3" in error["message"]
    assert told["catches_exit"]["outputs"] == ["ContainerFailed"]
    assert "code 4" in told["leaves"]["error"]["message"]


def test_a_value_of_the_wrong_type(told: Told) -> None:
    assert told["wrong_output"]["error"]["code"] == "DataValidationError"


def test_a_task_that_is_not_in_its_module(told: Told) -> None:
    error = told["vanishes"]["error"]
    assert (told["vanishes"]["phase"], error["code"]) == ("FAILED", "AttributeError")
    assert "module 'failures' has no attribute 'vanishes'" in error["message"]


def test_the_end_of_a_parent_is_the_end_of_its_children(told: Told) -> None:
    assert told["leaves_children"]["error"]["code"] == "ValueError"
    (child,) = told["leaves_children"]["children"]
    assert child["phase"] == "ABORTED"
    _assert_ended(told["leaves_children"]["executions"])


def test_a_parent_cancels_its_child_and_all_below_it(told: Told) -> None:
    assert told["cancels"]["outputs"] == [["cancelled", "quick"]]
    phases = {child["task"]: child["phase"] for child in told["cancels"]["children"]}
    assert phases == {"failures.sleeps_below": "ABORTED", "failures.quick": "SUCCEEDED"}
    assert [child["phase"] for child in told["cancels"]["grandchildren"]] == ["ABORTED"]
    _assert_ended(told["cancels"]["executions"])


def test_a_parent_hears_that_its_child_was_aborted(told: Told) -> None:
    assert told["aborted"]["outputs"] == ["ActionAbortedError quick"]
    child = next(one for one in told["aborted"]["children"] if one["task"] == "failures.sleeps")
    assert (child["phase"], child["abort"]) == ("ABORTED", "not needed any more")
    _assert_ended(told["aborted"]["executions"])


@pytest.mark.parametrize(
    ("key", "code", "says"),
    [
        ("syntax", "SyntaxError", "wrong.py"),
        ("unimportable", "ModuleNotFoundError", "No module named 'no_such_module'"),
        ("explodes", "RuntimeError", "this module does not like it here"),
    ],
)
def test_code_that_cannot_be_imported(broken: Told, key: str, code: str, says: str) -> None:
    assert broken[key]["phase"] == "FAILED"
    assert broken[key]["error"]["code"] == code
    assert says in broken[key]["error"]["message"]


@pytest.fixture(scope="module")
def broken(user: User, tmp_path_factory: pytest.TempPathFactory) -> Told:
    """The programs in ``broken``, with a file beside them that is no Python."""
    here = Path(__file__).parent / "programs"
    folder = tmp_path_factory.mktemp("broken")
    for path in (here / "broken").glob("*.py"):
        (folder / path.name).write_text(path.read_text())
    (folder / "telling.py").write_text((here / "telling.py").read_text())
    (folder / "wrong.py").write_text("def wrong(:\n")
    return user.python("main.py", cwd=folder)


def _assert_ended(executions: list[str]) -> None:
    """The process that noted itself is gone."""
    (pid,) = [int(line.split()[1]) for line in executions if line.startswith("sleeps ")]
    try:
        psutil.Process(pid).wait(timeout=10)
    except psutil.NoSuchProcess:
        return
