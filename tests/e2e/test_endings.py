"""How a timeout and a traced call that fails reach a parent and its user."""

from .user import User


def test_a_parent_catches_the_timeout_of_a_child(user: User) -> None:
    assert user.python("limits.py")["outputs"] == ["MaxRuntimeExceededError"]


def test_a_traced_call_that_fails_says_why(user: User) -> None:
    told = user.python("traced.py")
    assert told["outputs"] == ["caught: 3 is not enough"]
    assert told["phase"].lower().endswith("failed")
    assert told["code"] == "ValueError"
    assert "3 is not enough" in told["text"]
