"""Secrets at rest: only the right key opens them, only for the right name, and keys can be replaced."""

import base64
import os
from dataclasses import replace
from pathlib import Path

import pytest

from alula.core.errors import Conflict
from alula.core.scope import Scope
from alula.core.secret import SecretId
from alula.secrets.cipher import Cipher, keys

OLD, NEW = b"o" * 32, b"n" * 32
TOKEN = SecretId(Scope("development", "p"), "token")
VALUE = b"hunter2 is not a good one"


def spelled(key: bytes) -> str:
    return base64.b64encode(key).decode()


@pytest.mark.parametrize("value", [b"", b"x", VALUE, bytes(range(256)), os.urandom(1024 * 1024)])
def test_what_is_sealed_is_opened(value: bytes) -> None:
    cipher = Cipher([OLD])
    assert cipher.open(TOKEN, cipher.seal(TOKEN, value)) == value


def test_nothing_of_it_can_be_seen() -> None:
    cipher = Cipher([OLD])
    first, second = cipher.seal(TOKEN, VALUE), cipher.seal(TOKEN, VALUE)
    assert VALUE not in first.text
    assert first.text != second.text
    assert first.nonce != second.nonce
    assert spelled(first.text) not in repr(first)
    assert repr(first.text) not in repr(first)
    assert "ooo" not in repr(cipher)


@pytest.mark.parametrize(
    "other",
    [
        SecretId(Scope("development", "q"), "token"),
        SecretId(Scope("staging", "p"), "token"),
        SecretId(Scope("development"), "token"),
        SecretId(Scope(), "token"),
        SecretId(Scope("development", "p"), "other"),
    ],
)
def test_a_value_cannot_be_moved_to_another_name(other: SecretId) -> None:
    cipher = Cipher([OLD])
    with pytest.raises(Conflict, match="not what was stored"):
        cipher.open(other, cipher.seal(TOKEN, VALUE))


def test_a_changed_value_is_refused() -> None:
    cipher = Cipher([OLD])
    sealed = cipher.seal(TOKEN, VALUE)
    for changed in (
        replace(sealed, text=bytes([sealed.text[0] ^ 1]) + sealed.text[1:]),
        replace(sealed, text=sealed.text[:-1]),
        replace(sealed, nonce=bytes(12)),
    ):
        with pytest.raises(Conflict, match="not what was stored"):
            cipher.open(TOKEN, changed)


def test_a_new_key_seals_and_the_old_one_still_opens() -> None:
    sealed = Cipher([OLD]).seal(TOKEN, VALUE)
    both = Cipher([NEW, OLD])
    assert both.open(TOKEN, sealed) == VALUE
    again = both.seal(TOKEN, VALUE)
    assert again.key != sealed.key
    assert Cipher([NEW]).open(TOKEN, again) == VALUE
    with pytest.raises(Conflict, match="a key that this server does not have"):
        Cipher([NEW]).open(TOKEN, sealed)


def test_a_home_makes_its_key_once(tmp_path: Path) -> None:
    """Case O19, of secrets."""
    path = tmp_path / "keys" / "secret"
    made = keys(path, "")
    assert keys(path, "") == made
    assert len(made[0]) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [p.name for p in path.parent.iterdir()] == ["secret"]


def test_a_crash_while_it_was_made_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "secret.new").write_text("half")
    assert len(keys(tmp_path / "secret", "")) == 1


def test_a_key_that_is_given_comes_first(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    assert keys(path, spelled(NEW)) == [NEW]
    assert not path.exists()
    path.write_text(f"{spelled(OLD)}\n")
    assert keys(path, f" {spelled(NEW)}\n") == [NEW, OLD]
    assert keys(path, "  ") == [OLD]
    assert keys(path, base64.urlsafe_b64encode(bytes([255] * 32)).decode())[0] == bytes([255] * 32)


@pytest.mark.parametrize("word", ["x", spelled(b"short"), spelled(b"k" * 33), "ключ", "=" * 44, "A" * 43])
def test_what_is_no_key_is_refused_and_not_repeated(tmp_path: Path, word: str) -> None:
    with pytest.raises(Conflict, match=r"ALULA_SECRET_KEY.*openssl rand") as refused:
        keys(tmp_path / "secret", word)
    assert word not in str(refused.value) or word == "x"


def test_there_has_to_be_one() -> None:
    with pytest.raises(Conflict, match="no key"):
        Cipher([])
