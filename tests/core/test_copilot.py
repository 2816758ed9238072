"""How raw containers read and write values: Go's spellings, which is what containers were written against."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alula.core.copilot import Value, argument, file_text, fill, parse, plain
from alula.core.errors import Invalid

_NOON = datetime(2026, 1, 2, 12, 0, 0, 500000, UTC)


@pytest.mark.parametrize(
    ("value", "file", "word"),
    [
        (None, "null", "null"),
        (True, "true", "true"),
        (False, "false", "false"),
        (0, "0", "0"),
        (-7, "-7", "-7"),
        (1.0, "1", "1"),
        (1.5, "1.5", "1.5"),
        (1e-7, "0.0000001", "1e-07"),
        (123456.0, "123456", "123456"),
        (1234567.0, "1234567", "1.234567e+06"),
        (1e21, "1000000000000000000000", "1e+21"),
        (float("inf"), "+Inf", "+Inf"),
        (float("nan"), "NaN", "NaN"),
        ("a b", "a b", "a b"),
        (_NOON, "2026-01-02T12:00:00.5Z", "2026-01-02T12:00:00.5Z"),
        (_NOON.replace(microsecond=0), "2026-01-02T12:00:00Z", "2026-01-02T12:00:00Z"),
        (_NOON.astimezone(timezone(timedelta(hours=2))), "2026-01-02T12:00:00.5Z", "2026-01-02T12:00:00.5Z"),
        (timedelta(), "0s", "seconds:0"),
        (timedelta(microseconds=15), "15µs", "seconds:0 nanos:15000"),
        (timedelta(milliseconds=1.5), "1.5ms", "seconds:0 nanos:1500000"),
        (timedelta(seconds=5), "5s", "seconds:5"),
        (timedelta(minutes=2), "2m0s", "seconds:120"),
        (timedelta(hours=1, seconds=2.5), "1h0m2.5s", "seconds:3602 nanos:500000000"),
        (-timedelta(seconds=90), "-1m30s", "seconds:-90"),
    ],
)
def test_spelling(value: Value, file: str, word: str) -> None:
    assert (file_text(value), argument(value)) == (file, word)


def test_trees() -> None:
    assert argument([1, "a", [True]]) == "[1,a,[true]]"
    assert argument({"a": [1.5, None]}) == '{"a": [1.5, null]}'
    assert plain({"at": _NOON, "x": [timedelta(seconds=1)]}) == {"at": "2026-01-02T12:00:00.5Z", "x": ["1s"]}


def test_fill() -> None:
    assert fill("{{.inputs.x}}-{{ .Inputs.y }}-{{.other}}", {"x": 1, "y": [2]}) == "1-[2]-{{.other}}"
    with pytest.raises(Invalid, match="the input 'z'; the inputs are: x, y"):
        fill("{{.inputs.z}}", {"x": 1, "y": 2})


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("integer", " 42\n", 42),
        ("float", "1e3\n", 1000.0),
        ("boolean", "True\n", True),
        ("boolean", "0", False),
        ("string", " kept \n", " kept \n"),
        ("none", "anything", None),
        ("datetime", "2026-01-02T12:00:00.5Z\n", _NOON),
        ("datetime", "2026-01-02T12:00:00.500000123Z", _NOON),
        ("datetime", "2026-01-02", datetime(2026, 1, 2, tzinfo=UTC)),
        ("duration", "1h2m3.5s", timedelta(hours=1, minutes=2, seconds=3.5)),
        ("duration", "1 day, 1:00:00", timedelta(days=1, hours=1)),
        ("duration", "90", timedelta(seconds=90)),
        ("duration", "-1m30s", -timedelta(seconds=90)),
    ],
)
def test_parse(kind: str, text: str, value: object) -> None:
    assert parse(kind, text) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [("integer", "1.5"), ("float", "many"), ("boolean", "yes"), ("datetime", "noon"), ("duration", "")],
)
def test_parse_refuses(kind: str, text: str) -> None:
    with pytest.raises(Invalid, match=f"is no {kind}"):
        parse(kind, text)


@given(st.timedeltas(timedelta(days=-4000), timedelta(days=4000)))
def test_durations_come_back(value: timedelta) -> None:
    read = parse("duration", file_text(value))
    assert isinstance(read, timedelta)
    assert abs(read - value) <= timedelta(microseconds=1)


@given(st.floats(allow_nan=False))
def test_floats_come_back(value: float) -> None:
    assert parse("float", file_text(value)) == parse("float", argument(value)) == value
