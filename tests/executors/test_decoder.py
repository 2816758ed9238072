"""A container's log made into lines: in pieces of any size, in streams that are cut anywhere."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from alula.core.launch import LogLine
from alula.executors.cluster.decoder import Decoder

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
AT, LATER = "2026-03-04T05:06:07.123456789Z", "2026-03-04T05:06:08Z"


def fed(decoder: Decoder, data: bytes, size: int, *, ends: bool = True) -> Iterator[LogLine]:
    decoder.begin()
    for start in range(0, len(data), size):
        yield from decoder.feed(data[start : start + size])
    if ends:
        yield from decoder.end()


def text(lines: Iterator[LogLine]) -> str:
    return "".join(line.text for line in lines)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_a_log_is_read_from_pieces(size: int) -> None:
    data = f"{AT} hello wörld\n{AT} \nrpc error: not a line\n{LATER} the end".encode()
    lines = list(fed(Decoder("[x] "), data, size))
    assert [line.text for line in lines] == ["[x] hello wörld\n", "[x] \n", "[x] the end"]
    assert [line.at for line in lines] == [
        NOW + timedelta(microseconds=123456),
        NOW + timedelta(microseconds=123456),
        NOW + timedelta(seconds=1),
    ]


def test_a_long_line_is_told_in_pieces() -> None:
    long = "é" * 200_000
    lines = list(fed(Decoder("[x] "), f"{AT} {long}end\n{LATER} next\n".encode(), 50_000))
    assert len(lines) > 3
    assert "".join(line.text for line in lines) == f"[x] {long}end\n[x] next\n"
    assert len({line.at for line in lines[:-1]}) == 1


# Several lines of one microsecond, of one nanosecond, and one that is long enough to be told in pieces.
WHOLE = (
    "2026-03-04T05:06:07.123456100Z one\n"
    "2026-03-04T05:06:07.123456200Z two\n"
    "2026-03-04T05:06:07.123456200Z two\n"
    "2026-03-04T05:06:07.123456200Z three\n"
    f"2026-03-04T05:06:07.5Z {'ü' * 70_000}!\n"
    "2026-03-04T07:06:08.000000001+02:00 five\n"
    "2026-03-04T05:06:09Z six\n"
).encode()
PLAIN = "".join(line.partition(" ")[2] + "\n" for line in WHOLE.decode().splitlines())


def later(data: bytes, since: str) -> bytes:
    """What a cluster tells when it is asked from a second on."""
    if not since:
        return data
    wanted = datetime.fromisoformat(since)
    lines = data.splitlines(keepends=True)
    return b"".join(line for line in lines if datetime.fromisoformat(line.split(b" ")[0].decode()) >= wanted)


_LINES = [at + 1 for at, byte in enumerate(WHOLE) if byte == 10]
_CUTS = sorted({0, 5, 40, *_LINES, *(at - 3 for at in _LINES), 70_000, 140_000, len(WHOLE) - 1})


@pytest.mark.parametrize("cut", _CUTS)
@pytest.mark.parametrize("ends", [True, False], ids=["it came to its end", "it broke"])
def test_a_stream_that_is_cut_loses_no_line_and_doubles_none(cut: int, *, ends: bool) -> None:
    """Wherever it is cut, however often, in the middle of a line too."""
    decoder, said = Decoder(""), ""
    for _ in range(3):
        said += text(fed(decoder, later(WHOLE, decoder.since)[: cut or 1], 1 << 15, ends=ends))
    said += text(fed(decoder, later(WHOLE, decoder.since), 1 << 15))
    assert said == PLAIN


def test_what_was_rotated_away_meanwhile_is_not_waited_for() -> None:
    decoder = Decoder("")
    assert text(fed(decoder, f"{AT} one\n".encode(), 100)) == "one\n"
    assert text(fed(decoder, f"{LATER} two\n".encode(), 100)) == "two\n"


def test_a_clock_that_goes_back_hides_nothing() -> None:
    assert text(fed(Decoder(""), f"{LATER} one\n{AT} two\n".encode(), 100)) == "one\ntwo\n"
