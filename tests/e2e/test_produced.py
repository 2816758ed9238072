"""Outputs that are artifacts, and the trigger that waits for them."""

import pytest

from .user import Told, User


@pytest.fixture(scope="module")
def told(user: User) -> Told:
    return user.python("produced.py")


def test_an_output_is_published_with_its_success(told: Told) -> None:
    assert told["made"]["phase"] == "SUCCEEDED"
    assert told["names"] == [["made_here", 2]]
    assert told["version"].startswith(told["made"]["run"])
    assert told["made"]["run"] in told["source"]


def test_a_new_version_fires_the_trigger_that_waits_for_its_partition(told: Told) -> None:
    assert [run["outputs"] for run in told["triggered"]] == [["ababab from eu"]]
