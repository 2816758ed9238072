"""A task's timeout reaches its parent as the exception that the SDK has for it."""

from .user import User


def test_a_parent_catches_the_timeout_of_a_child(user: User) -> None:
    assert user.python("limits.py")["outputs"] == ["MaxRuntimeExceededError"]
