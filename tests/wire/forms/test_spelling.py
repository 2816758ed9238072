"""How single values are spelled."""

from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from alula.core.errors import Invalid
from alula.wire.forms import spelling
from alula.wire.forms.trail import Trail

HERE = Trail("x")
H, M, S = 3600, 60, 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, 3), (3.0, 3), (-0.0, 0), ("3", 3), ("-9223372036854775808", -(2**63)), ("+7", 7), ("007", 7),
        (float(2**53 - 1), 2**53 - 1), (str(2**63 - 1), 2**63 - 1),
    ],
)  # fmt: skip
def test_integers(value: Any, expected: int) -> None:
    assert spelling.integer(value, HERE) == expected


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (3.9, "3.9 is no whole number"), (True, "no integer"), (float("nan"), "no whole"), (float("inf"), "no whole"),
        ("3.0", "no integer"), ("", "no integer"), ("1" * 30, "no integer"), ("٣", "no integer"), ([], "no integer"),
        (None, "no integer"), (2.0**53, "strings of digits"), (1e300, "strings of digits"),
        (str(2**63), "64 bits"), (str(-(2**63) - 1), "64 bits"), ("9" * 20, "64 bits"),
    ],
)  # fmt: skip
def test_what_is_no_integer(value: Any, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        spelling.integer(value, HERE)


@given(st.integers(-(2**63), 2**63 - 1))
def test_an_integer_comes_back(value: int) -> None:
    told = spelling.integer_json(value)
    sent = float(told) if isinstance(told, int) else told  # as a Struct carries it
    assert spelling.integer(sent, HERE) == value


def test_large_integers_are_digits() -> None:
    assert [spelling.integer_json(n) for n in (2**53 - 1, 2**53, 2**53 + 1, -(2**53))] == [
        2**53 - 1, "9007199254740992", "9007199254740993", "-9007199254740992",
    ]  # fmt: skip


@given(st.floats())
def test_a_float_comes_back(value: float) -> None:
    assert repr(spelling.number(spelling.number_json(value), HERE)) == repr(value)


@pytest.mark.parametrize("value", [True, "1", "nan", None, [], {}])
def test_what_is_no_number(value: Any) -> None:
    with pytest.raises(Invalid, match="is no number"):
        spelling.number(value, HERE)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1h30m0s", (90 * M, 0)), ("1h30m", (90 * M, 0)), ("1.5h", (90 * M, 0)), ("-1h", (-H, 0)), ("0s", (0, 0)),
        ("1500ms", (1, 500_000_000)), ("1us", (0, 1000)), ("1µs", (0, 1000)), ("1\u03bcs", (0, 1000)),
        ("1ns", (0, 1)), ("-0.5s", (0, -500_000_000)), (".5s", (0, 500_000_000)), ("1.s", (1, 0)),
        ("100000h", (100_000 * H, 0)), ("0.000000001s", (0, 1)),
        ("PT1H30M", (90 * M, 0)), ("P1DT2H", (26 * H, 0)), ("P2W", (14 * 24 * H, 0)), ("PT1.5S", (1, 500_000_000)),
        ("-P1D", (-24 * H, 0)), ("P0.5D", (12 * H, 0)), ("PT0.000000001S", (0, 1)),
        ("90", (90, 0)), ("-90", (-90, 0)), ("1.25", (1, 250_000_000)), (90, (90, 0)), (1.5, (1, 500_000_000)),
        (0.1, (0, 100_000_000)), (-1.5, (-1, -500_000_000)),
    ],
)  # fmt: skip
def test_durations(text: Any, expected: tuple[int, int]) -> None:
    made = spelling.duration(text, HERE)
    assert (made.seconds, made.nanos) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "h", "1x", "1h 30m", "P", "PT", "P1Y", "P1M", "P1DT", "1h-30m", "--1h", "0.0000000001s", "1e3s", "٣s",
        None, True, [], float("nan"), float("inf"), 1e300, "99999999999999999999h",
    ],
)  # fmt: skip
def test_what_is_no_duration(text: Any) -> None:
    with pytest.raises(Invalid, match=r"is no duration|is longer"):
        spelling.duration(text, HERE)


@pytest.mark.parametrize(
    ("seconds", "nanos", "text"),
    [
        (0, 0, "0s"), (5400, 0, "1h30m0s"), (90, 0, "1m30s"), (1, 500_000_000, "1.5s"), (0, 1_500_000, "1.5ms"),
        (0, 1_500, "1.5µs"), (0, 7, "7ns"), (-5400, -1, "-1h30m0.000000001s"), (86400 * 400, 0, "9600h0m0s"),
    ],
)  # fmt: skip
def test_durations_as_go_writes_them(seconds: int, nanos: int, text: str) -> None:
    assert spelling.duration_json(Duration(seconds=seconds, nanos=nanos)) == text


@given(st.integers(-315_576_000_000 * 10**9, 315_576_000_000 * 10**9))
def test_a_duration_comes_back(total: int) -> None:
    sign = -1 if total < 0 else 1
    seconds, nanos = divmod(abs(total), 10**9)
    value = Duration(seconds=sign * seconds, nanos=sign * nanos)
    assert spelling.duration(spelling.duration_json(value), HERE) == value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z"),
        ("2026-01-31T12:00:00.5+02:00", "2026-01-31T10:00:00.500Z"),
        ("2026-01-31t12:00:00.123456789z", "2026-01-31T12:00:00.123456789Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ("9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59.999999999Z"),
    ],
)
def test_times(text: str, expected: str) -> None:
    assert spelling.time_json(spelling.time(text, HERE), HERE) == expected


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31", "2026-01-31T12:00:00", "2026-02-30T12:00:00Z", "2026-01-31 12:00:00Z", "now", 5.0, None, "", [],
        "2026-01-31T12:00:00.1234567891Z", "2026-01-31T12:00:00+99:99", "0001-01-01T00:00:00+02:00",
    ],
)  # fmt: skip
def test_what_is_no_time(text: Any) -> None:
    with pytest.raises(Invalid, match="is no time: write it as"):
        spelling.time(text, HERE)


@given(st.integers(-62_135_596_800, 253_402_300_799), st.integers(0, 999_999_999))
def test_a_time_comes_back(seconds: int, nanos: int) -> None:
    value = Timestamp(seconds=seconds, nanos=nanos)
    assert spelling.time(spelling.time_json(value, HERE), HERE) == value


def test_a_time_that_is_none() -> None:
    with pytest.raises(Invalid, match="x: is no time"):
        spelling.time_json(Timestamp(seconds=2**62), HERE)


@pytest.mark.parametrize("text", ["a", "a===", "ä", "YQ", "Y Q==", 3, None])
def test_what_is_no_base64(text: Any) -> None:
    with pytest.raises(Invalid):
        spelling.binary(text, HERE)
