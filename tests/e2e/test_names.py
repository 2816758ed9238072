"""Runs that their users name."""

import pytest

from .user import Told, User


@pytest.fixture(scope="module")
def told(user: User) -> Told:
    return user.python("names.py")


def test_the_same_run_twice_is_one_run(told: Told) -> None:
    assert told["first"]["run"] == told["again"]["run"] == "mine"
    assert told["first"]["outputs"] == told["again"]["outputs"] == [3]
    assert len(told["again"]["attempts"]) == 1


def test_a_name_is_not_given_twice(told: Told) -> None:
    assert told["refused"]["inputs"] == told["refused"]["task"] == "RunAlreadyExistsError"


def test_what_cannot_be_a_name(told: Told) -> None:
    assert told["refused"]["name"] == "InvalidArgumentError"


def test_a_name_is_a_projects_and_a_domains_own(told: Told) -> None:
    """Case C18."""
    assert [told[key]["outputs"] for key in ("here", "there", "staging")] == [[11], [21], [31]]


def test_commands_look_where_they_are_told_to(told: Told, user: User) -> None:
    assert "21" in user.flyte("get", "io", "shared", "--outputs-only", "--project", "elsewhere")
    assert "31" in user.flyte("get", "io", "shared", "--outputs-only", "--domain", "staging")
    assert "11" in user.flyte("get", "io", "shared", "--outputs-only")
