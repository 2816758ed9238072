"""Tasks that only sleep, as the SDK asks for them."""

import pytest

from .user import Told, User


@pytest.fixture(scope="module")
def told(user: User) -> Told:
    return user.python("sleeping.py")


def test_a_task_sleeps_as_long_as_its_input_says(told: Told) -> None:
    assert told["slept"]["phase"] == "SUCCEEDED", told
    assert told["seconds"] >= 1.5


def test_one_that_declares_outputs_is_refused(told: Told) -> None:
    assert told["wrong"]["error"]["code"] == "BadTaskSpecification"
    assert "cannot have outputs" in told["wrong"]["error"]["message"]
