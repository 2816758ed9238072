"""Conditions, cached results and recovered runs, as the unmodified SDK asks for them."""

import pytest

from .user import Told, User


@pytest.fixture(scope="module")
def told(user: User) -> Told:
    return user.python("asking.py")


def test_people_answer_what_a_run_asks(told: Told) -> None:
    assert told["asked"]["outputs"] == [["True", "7", "0.5", "☃"]]
    assert {c["phase"] for c in told["conditions"]} == {"SUCCEEDED"}
    assert [[a["phase"] for a in c["attempts"]] for c in told["conditions"]] == [["SUCCEEDED"]] * 4


def test_a_question_that_nobody_answers_times_out(told: Told) -> None:
    """Case C6, of a condition: the SDK is told, and raises its error."""
    assert told["impatient"]["outputs"] == ["timed out"]


def test_a_result_is_computed_once(told: Told) -> None:
    """Case C33."""
    (first,), (second,) = (run["outputs"] for run in told["cached"])
    assert first == second
    assert first[0] == first[1] != first[2]


def test_overwrite_cache_computes_anew(told: Told) -> None:
    (first,), (anew,) = told["cached"][0]["outputs"], told["anew"]["outputs"]
    assert not set(first) & set(anew)


def test_of_five_at_once_one_works(told: Told) -> None:
    (results,) = told["together"]["outputs"]
    assert len(results) == 5
    assert len(set(results)) == 1


def test_a_recovered_run_does_only_what_is_left(told: Told) -> None:
    assert told["failed"]["phase"] == "FAILED"
    assert told["recovered"]["phase"] == "SUCCEEDED"
    phases = {name: child["phase"] for name, child in told["after"].items()}
    assert phases == {"traced": "RECOVERED", "asking.steady": "RECOVERED", "asking.shaky": "SUCCEEDED"}
    assert {n: c["name"] for n, c in told["after"].items()} == {n: c["name"] for n, c in told["before"].items()}
