"""Apps, served by the unmodified SDK."""

import pytest

from .user import Told, User


@pytest.fixture(scope="module")
def told(user: User) -> Told:
    return user.python("apps.py")


def test_an_app_is_served_and_reached(user: User, told: Told) -> None:
    assert told["endpoint"] == f"{user.url}/apps/flytesnacks/development/plain"
    assert told["listing"] == 200


def test_the_same_app_again_is_no_new_revision(told: Told) -> None:
    assert told["revisions"] == [1, 1]


def test_a_server_function_gets_its_port_its_parameters_and_the_other_app(told: Told) -> None:
    assert told["greeting"] == ["good day", "world", 200]


def test_stop_and_start(told: Told) -> None:
    assert told["stopped"] == 503
    status, seconds = told["activated"]
    assert status == 200
    assert seconds < 10


def test_what_the_sdk_lists_and_tails(told: Told) -> None:
    assert told["active"] == ["coded", "plain"]
    assert told["log"].endswith("serving world\n")
