"""Cron expressions, by tables and against two other libraries where those agree."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter
from cronsim import CronSim
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from alula.core import cron, schedule
from alula.core.errors import Invalid

START = datetime(2026, 3, 4, 5, 6)  # a Wednesday


def times(text: str, count: int = 3, start: datetime = START) -> list[str]:
    """The first times after a start."""
    parsed, found, at = cron.parse(text), [], start
    for _ in range(count):
        after = parsed.first(cron.following(at))
        if after is None:
            break
        at = after
        found.append(f"{at:%Y-%m-%d %H:%M}")
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("* * * * *", ["2026-03-04 05:07", "2026-03-04 05:08", "2026-03-04 05:09"]),
        ("*/15 * * * *", ["2026-03-04 05:15", "2026-03-04 05:30", "2026-03-04 05:45"]),
        ("50/5 * * * *", ["2026-03-04 05:50", "2026-03-04 05:55", "2026-03-04 06:50"]),
        ("5,10-20/5 6 * * *", ["2026-03-04 06:05", "2026-03-04 06:10", "2026-03-04 06:15"]),
        ("@hourly", ["2026-03-04 06:00", "2026-03-04 07:00", "2026-03-04 08:00"]),
        ("@DAILY", ["2026-03-05 00:00", "2026-03-06 00:00", "2026-03-07 00:00"]),
        ("@weekly", ["2026-03-08 00:00", "2026-03-15 00:00", "2026-03-22 00:00"]),
        ("@monthly", ["2026-04-01 00:00", "2026-05-01 00:00", "2026-06-01 00:00"]),
        ("@yearly", ["2027-01-01 00:00", "2028-01-01 00:00", "2029-01-01 00:00"]),
        ("0 9 * * mon-fri", ["2026-03-04 09:00", "2026-03-05 09:00", "2026-03-06 09:00"]),
        ("0 9 * * 7", ["2026-03-08 09:00", "2026-03-15 09:00", "2026-03-22 09:00"]),
        ("0 9 * * 5-7", ["2026-03-06 09:00", "2026-03-07 09:00", "2026-03-08 09:00"]),
        ("0 0 13 * 5", ["2026-03-06 00:00", "2026-03-13 00:00", "2026-03-20 00:00"]),  # either day
        ("0 0 */2 * 5", ["2026-03-13 00:00", "2026-03-27 00:00", "2026-04-03 00:00"]),  # both days
        ("0 0 1 jan,JUL ?", ["2026-07-01 00:00", "2027-01-01 00:00", "2027-07-01 00:00"]),
        ("0 0 29 2 *", ["2028-02-29 00:00", "2032-02-29 00:00", "2036-02-29 00:00"]),
        ("0 0 31 * *", ["2026-03-31 00:00", "2026-05-31 00:00", "2026-07-31 00:00"]),
        ("0 0 L * *", ["2026-03-31 00:00", "2026-04-30 00:00", "2026-05-31 00:00"]),
        ("0 0 * * 5L", ["2026-03-27 00:00", "2026-04-24 00:00", "2026-05-29 00:00"]),
        ("0 0 * * TUE#2", ["2026-03-10 00:00", "2026-04-14 00:00", "2026-05-12 00:00"]),
        ("0 0 * * 1#5", ["2026-03-30 00:00", "2026-06-29 00:00", "2026-08-31 00:00"]),
    ],
)
def test_five_fields(text: str, expected: list[str]) -> None:
    """Case C28: 5 fields and @hourly."""
    assert times(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # the examples of Amazon's own reference
        ("0 10 * * ? *", ["2026-03-04 10:00", "2026-03-05 10:00", "2026-03-06 10:00"]),
        ("15 12 * * ? *", ["2026-03-04 12:15", "2026-03-05 12:15", "2026-03-06 12:15"]),
        ("0 18 ? * MON-FRI *", ["2026-03-04 18:00", "2026-03-05 18:00", "2026-03-06 18:00"]),
        ("0 8 1 * ? *", ["2026-04-01 08:00", "2026-05-01 08:00", "2026-06-01 08:00"]),
        ("0/10 * ? * MON-FRI *", ["2026-03-04 05:10", "2026-03-04 05:20", "2026-03-04 05:30"]),
        ("0/5 8-17 ? * MON-FRI *", ["2026-03-04 08:00", "2026-03-04 08:05", "2026-03-04 08:10"]),
        ("0 9 ? * 2#1 *", ["2026-04-06 09:00", "2026-05-04 09:00", "2026-06-01 09:00"]),  # 2 is Monday
        ("0 0 ? * 1 *", ["2026-03-08 00:00", "2026-03-15 00:00", "2026-03-22 00:00"]),  # 1 is Sunday
        ("0 0 ? * L *", ["2026-03-07 00:00", "2026-03-14 00:00", "2026-03-21 00:00"]),
        ("0 0 ? * 6L *", ["2026-03-27 00:00", "2026-04-24 00:00", "2026-05-29 00:00"]),
        ("0 0 L * ? *", ["2026-03-31 00:00", "2026-04-30 00:00", "2026-05-31 00:00"]),
        ("0 0 L-3 * ? *", ["2026-03-28 00:00", "2026-04-27 00:00", "2026-05-28 00:00"]),
        ("0 0 LW * ? *", ["2026-03-31 00:00", "2026-04-30 00:00", "2026-05-29 00:00"]),
        ("0 0 1W * ? *", ["2026-04-01 00:00", "2026-05-01 00:00", "2026-06-01 00:00"]),
        ("0 0 15W * ? *", ["2026-03-16 00:00", "2026-04-15 00:00", "2026-05-15 00:00"]),
        ("0 0 1W 8 ? *", ["2026-08-03 00:00", "2027-08-02 00:00", "2028-08-01 00:00"]),  # never into July
        ("0 0 31W * ? *", ["2026-03-31 00:00", "2026-05-29 00:00", "2026-07-31 00:00"]),
        ("cron(0 10 * * ? 2027-2028)", ["2027-01-01 10:00", "2027-01-02 10:00", "2027-01-03 10:00"]),
        ("cron(30 1 * * *)", ["2026-03-05 01:30", "2026-03-06 01:30", "2026-03-07 01:30"]),
        ("0 0 1 1 ? 2027,2030", ["2027-01-01 00:00", "2030-01-01 00:00"]),
        ("0 0 1 1 ? 2020", []),
        ("0 0 ? 2 1#5 *", ["2032-02-29 00:00", "2060-02-29 00:00", "2088-02-29 00:00"]),
    ],
)
def test_six_fields(text: str, expected: list[str]) -> None:
    """Case C28: Amazon's six fields."""
    assert times(text) == expected


@pytest.mark.parametrize("text", ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 31W 2 ? *", "0 0 1 1 ? 1999"])
def test_never(text: str) -> None:
    assert times(text) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "5 fields"),
        ("* * * *", "5 fields"),
        ("* * * * * * *", "5 fields"),
        ("@every 5m", "5 fields"),
        ("60 * * * *", "minute: '60' is not within 0-59"),
        ("* 24 * * *", "hour: '24'"),
        ("* * 0 * *", "day-of-month: '0'"),
        ("* * * 13 *", "month: '13' is not within 1-12 or JAN-DEC"),
        ("* * * * 8", "day-of-week: '8' is not within 0-7 or SUN-SAT"),
        ("* * * * FOO", "day-of-week: 'FOO'"),
        ("* * * * 1#6", "week of a day-of-week: '6'"),
        ("* * * * FRI-MON", "runs backwards"),
        ("20-10 * * * *", "runs backwards"),
        ("*/0 * * * *", "step of minute: '0'"),
        ("*/x * * * *", "step of minute: 'X'"),
        ("1,,2 * * * *", "minute: ''"),
        ("-1 * * * *", "minute: ''"),
        ("1.5 * * * *", "minute: '1.5'"),
        ("\u0663 * * * *", "minute"),  # a digit, though none of ours
        ("? * * * *", "minute: '?'"),
        ("0 10 * * * *", "either day-of-month or day-of-week is '?'"),
        ("0 10 ? * ? *", "either day-of-month or day-of-week is '?'"),
        ("0 10 * * ? 1969", "year: '1969'"),
        ("0 10 ? * 0 *", "day-of-week: '0' is not within 1-7"),
        ("0 10 40W * ? *", "day-of-month: '40'"),
        ("1," * 600 + "1 * * * *", "at most 1000 characters"),
    ],
)
def test_nonsense(text: str, said: str) -> None:
    with pytest.raises(Invalid) as error:
        cron.parse(text)
    assert said in str(error.value)


def _field(low: int, high: int, words: tuple[str, ...] = ()) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    spelled = st.one_of(number.map(str), st.sampled_from(words)) if words else number.map(str)
    pairs = st.lists(number, min_size=2, max_size=2, unique=True)  # both others read 5-5/2 as 5/2
    ranges = pairs.map(lambda pair: f"{min(pair)}-{max(pair)}")
    stepped = st.tuples(st.one_of(st.just("*"), ranges), st.integers(1, high)).map(lambda pair: f"{pair[0]}/{pair[1]}")
    part = st.one_of(spelled, ranges, stepped)
    return st.one_of(st.just("*"), st.lists(part, min_size=1, max_size=3).map(",".join))


_EXPRESSIONS = st.tuples(
    _field(0, 59),
    _field(0, 23),
    st.one_of(_field(1, 31), st.just("L")),
    _field(1, 12, ("JAN", "JUN", "DEC")),
    st.one_of(_field(0, 7, ("SUN", "WED", "SAT")), st.just("3#2"), st.just("*")),
).map(" ".join)
_STARTS = st.datetimes(datetime(2020, 1, 1), datetime(2039, 1, 1)).map(lambda at: at.replace(microsecond=0))


def _theirs(text: str, start: datetime) -> datetime | None:
    """What both other libraries say comes next, if they say the same."""
    try:
        one = next(CronSim(text, start))
        other = croniter(text, start).get_next(datetime)
    except (ValueError, StopIteration, Exception) as error:
        assume(condition=False)
        raise AssertionError from error
    return one if one == other else None


@settings(max_examples=400, deadline=None)
@given(_EXPRESSIONS, _STARTS)
def test_as_two_other_libraries(text: str, start: datetime) -> None:
    """Where croniter and cronsim agree, so do we."""
    theirs = _theirs(text, start)
    assume(theirs is not None)
    assert cron.parse(text).first(cron.following(start)) == theirs


_ZONES = st.sampled_from(
    [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Asia/Kolkata",
        "Australia/Lord_Howe",
        "Africa/Casablanca",
        "Asia/Gaza",
    ]
)


@settings(max_examples=400, deadline=None)
@given(_EXPRESSIONS, _STARTS, _ZONES)
def test_zones_as_two_other_libraries(text: str, start: datetime, zone: str) -> None:
    """In zones too, unless the clock is put forward or back on one of those days: they have other rules there."""
    at = start.replace(tzinfo=UTC)
    theirs = _theirs(text, at.astimezone(ZoneInfo(zone)))
    assume(theirs is not None)
    assert theirs is not None
    days = [theirs + timedelta(days=n) for n in (-2, -1, 0, 1)] + [at + timedelta(days=n) for n in (0, 1)]
    assume(len({day.astimezone(ZoneInfo(zone)).utcoffset() for day in days}) == 1)
    assert schedule.timetable(text, zone).after(at) == theirs


@settings(max_examples=300, deadline=None)
@given(_EXPRESSIONS, _STARTS, _ZONES, st.integers(1, 5))
def test_order(text: str, start: datetime, zone: str, limit: int) -> None:
    """Times only go forward, and the last few of those that are over are the last of all."""
    table, at = schedule.timetable(text, zone), start.replace(tzinfo=UTC)
    found: list[datetime] = []
    while len(found) < 12 and (after := table.after(found[-1] if found else at)) is not None:
        assert after > (found[-1] if found else at)
        assert (after.second, after.microsecond) == (0, 0)
        found.append(after)
    if found:
        assert schedule.due(table, found[0], found[-1], limit) == (found[-limit:][0], table.after(found[-limit:][0]))
