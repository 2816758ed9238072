"""Links that answer conditions."""

import base64

import pytest

from alula.core.callback import key, token, uri, verified
from alula.core.errors import NotFound
from alula.core.ids import ActionId, RunId

KEY = key("secret")
ACTION = ActionId(RunId("p", "development", "r1"), "c-é")


def test_a_link_names_its_condition() -> None:
    link = uri("https://flyte.example.com/", KEY, ACTION)
    server, _, given = link.rpartition("/v2/callbacks/")
    assert server == "https://flyte.example.com"
    assert verified(KEY, given) == ACTION


def test_nobody_else_can_make_one() -> None:
    made = token(KEY, ACTION)
    other = token(KEY, ActionId(ACTION.run, "c2"))
    forged = base64.urlsafe_b64encode(base64.urlsafe_b64decode(made + "==")[:32] + b'["p","development","r1","c2"]')
    for given in (token(key("other"), ACTION), forged.rstrip(b"=").decode(), made[:-2], made[:20] + other[20:]):
        with pytest.raises(NotFound, match="not one of this server's"):
            verified(KEY, given)


@pytest.mark.parametrize("given", ["", "x", "é", "../..", "a/b", "=" * 10, "A" * 44, "A" * 100_000, "\x00"])
def test_garbage_is_not_found(given: str) -> None:
    with pytest.raises(NotFound):
        verified(KEY, given)


def test_the_key_is_not_the_secret_it_is_made_from() -> None:
    assert b"secret" not in KEY
    assert key("secret2") != KEY
