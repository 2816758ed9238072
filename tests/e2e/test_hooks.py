"""What a run tells the world: webhooks of its conditions and of its end, where the server's settings allow them."""

import pytest

from .user import Told, User, serving

ALLOWED = '[notifications]\nallow = ["127.0.0.1"]\n'


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    with serving(tmp_path_factory.mktemp("hooks") / "home", ALLOWED) as served:
        return User(tmp_path_factory.mktemp("user"), served.home, served.port).python("hooks.py")


def test_a_conditions_webhook_brings_the_link_that_answers_it(told: Told) -> None:
    assert told["ended"]["outputs"] == ["42 it is"]
    (body,) = [body for path, body in told["told"] if path == "/asked"]
    assert body["about"] == ["the", {"deep": "thing"}]


def test_the_end_is_told_once(told: Told) -> None:
    (body,) = [body for path, body in told["told"] if path == "/ended"]
    assert body == {"run": told["ended"]["run"], "phase": "SUCCEEDED"}
