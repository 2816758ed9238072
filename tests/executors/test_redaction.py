"""Secrets are taken out of what attempts print, wherever reads cut it."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alula.executors.process.redaction import Redactor


def redacted(secrets: list[str], *reads: bytes) -> bytes:
    redactor = Redactor(secrets)
    return b"".join([*map(redactor.feed, reads), redactor.end()])


@pytest.mark.parametrize(
    ("secrets", "reads", "shown"),
    [
        (["hunter2"], [b"the password is hunter2!\n"], b"the password is ***!\n"),
        (["hunter2"], [b"hun", b"ter", b"2", b"hunter"], b"***hunter"),
        (["hunter2"], [b"hunterhunter2"], b"hunter***"),
        (["short"], [b"short\n"], b"short\n"),
        (["wörter"], ["naïve wörter ☃".encode()], "naïve *** ☃".encode()),
        (["secret", "secretword"], [b"secret", b"word secret"], b"*** ***"),
        (["secret", "secretword"], [b"secretwor", b"x"], b"***worx"),
        (["abcabc", "bcabcX"], [b"abcab", b"cX"], b"***X"),
        ([" first line \n\nsecond line\r\nx\n"], [b"first line\nsecond line\nx\n"], b"***\n***\nx\n"),
        (["a" * 3000], [b"a" * 3000 + b"."], b"*********."),
        (["a.c$ef(", "[g]hij\\"], [b"abc$ef( a.c$ef( [g]hij\\"], b"abc$ef( *** ***"),
        ([], [b"nothing to hide"], b"nothing to hide"),
        (["tiny", ""], [b"tiny"], b"tiny"),
    ],
)
def test_table(secrets: list[str], reads: list[bytes], shown: bytes) -> None:
    assert redacted(secrets, *reads) == shown


def test_only_a_beginning_is_held_back() -> None:
    redactor = Redactor(["hunter2"])
    assert redactor.feed(b"Password? h") == b"Password? "
    assert redactor.feed(b"ello") == b"hello"
    assert redactor.feed(b"a line\n") == b"a line\n"
    assert redactor.feed(b"hunter") == b""
    assert redactor.feed(b"2") == b"***"


LETTERS = st.text("abA\n", max_size=40)


@given(st.lists(st.text("abA", min_size=1, max_size=12), max_size=5), st.lists(LETTERS, max_size=8), st.data())
def test_any_cut_shows_the_same_and_never_the_secret(
    secrets: list[str], pieces: list[str], data: st.DataObject
) -> None:
    mixed = [piece + data.draw(st.sampled_from([*secrets, ""])) for piece in pieces]
    text = "".join(mixed).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=10)))
    reads = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    shown = redacted(secrets, *reads)
    assert shown == redacted(secrets, text)
    assert shown == _plainly(secrets, text)
    for secret in secrets:
        if len(secret) >= 6:
            assert secret.encode() not in shown


def _plainly(secrets: list[str], text: bytes) -> bytes:
    long = sorted((secret.encode() for secret in secrets if len(secret) >= 6), key=len, reverse=True)
    return re.sub(b"|".join(map(re.escape, long)), b"***", text) if long else text


def test_nothing_of_them_is_in_a_repr() -> None:
    assert "hunter2" not in repr(Redactor(["hunter2"]))


def test_many_lines_are_no_burden() -> None:
    """A secret of twenty thousand lines, and a megabyte that almost has them."""
    import time

    lines = [f"{n * 7919:020x}" for n in range(20_000)]
    began = time.process_time()
    redactor = Redactor(["\n".join(lines)])
    text = b"".join(b"%020x\n" % (n * 7919 + 1) for n in range(50_000))
    assert redactor.feed(text) + redactor.end() == text
    assert redactor.feed(lines[-1].encode()) == b"***"
    assert time.process_time() - began < 5
