"""When a schedule is due: zones, clocks put forward and back, grids."""

from datetime import UTC, datetime, timedelta

import pytest

from alula.core import schedule
from alula.core.errors import Invalid

BERLIN_SPRING = datetime(2026, 3, 29, tzinfo=UTC)  # 01:00 UTC: 2:00 becomes 3:00
BERLIN_AUTUMN = datetime(2026, 10, 25, tzinfo=UTC)  # 01:00 UTC: 3:00 becomes 2:00
YORK_SPRING = datetime(2026, 3, 8, 4, tzinfo=UTC)  # 07:00 UTC: 2:00 becomes 3:00
YORK_AUTUMN = datetime(2026, 11, 1, 3, tzinfo=UTC)  # 06:00 UTC: 2:00 becomes 1:00
HOWE_SPRING = datetime(2026, 10, 3, 14, tzinfo=UTC)  # 15:30 UTC: 2:00 becomes 2:30
HOWE_AUTUMN = datetime(2026, 4, 4, 13, tzinfo=UTC)  # 15:00 UTC: 2:00 becomes 1:30


def times(expression: str, zone: str, start: datetime, count: int) -> list[str]:
    """The next times, as they are in UTC."""
    table, found, at = schedule.timetable(expression, zone), [], start
    for _ in range(count):
        after = table.after(at)
        assert after is not None
        at = after
        found.append(f"{at:%d %H:%M}")
    return found


@pytest.mark.parametrize(
    ("expression", "zone", "start", "expected"),
    [
        # put forward: once, right after the gap
        ("30 2 * * *", "Europe/Berlin", BERLIN_SPRING, ["29 01:00", "30 00:30"]),
        ("0,20,40 2 * * *", "Europe/Berlin", BERLIN_SPRING, ["29 01:00", "30 00:00", "30 00:20"]),
        ("*/10 2 * * *", "Europe/Berlin", BERLIN_SPRING, ["29 01:00", "30 00:00"]),
        ("0 2,3 * * *", "Europe/Berlin", BERLIN_SPRING, ["29 01:00", "30 00:00"]),
        ("0 3 * * *", "Europe/Berlin", BERLIN_SPRING, ["29 01:00", "30 01:00"]),
        ("59 1 * * *", "Europe/Berlin", BERLIN_SPRING, ["29 00:59", "29 23:59"]),
        ("30 2 * * *", "America/New_York", YORK_SPRING, ["08 07:00", "09 06:30"]),
        ("15 2 * * *", "Australia/Lord_Howe", HOWE_SPRING, ["03 15:30", "04 15:15"]),
        # put forward, every hour: nothing is due in the gap
        ("30 * * * *", "Europe/Berlin", BERLIN_SPRING, ["29 00:30", "29 01:30", "29 02:30"]),
        ("*/30 * * * *", "Europe/Berlin", BERLIN_SPRING, ["29 00:30", "29 01:00", "29 01:30"]),
        ("0 */2 * * *", "Europe/Berlin", BERLIN_SPRING, ["29 02:00", "29 04:00"]),
        ("15 * * * *", "Australia/Lord_Howe", HOWE_SPRING, ["03 14:45", "03 16:15"]),
        # put back: once, the first time
        ("30 2 * * *", "Europe/Berlin", BERLIN_AUTUMN, ["25 00:30", "26 01:30"]),
        ("30 2 * * *", "Europe/Berlin", BERLIN_AUTUMN + timedelta(hours=1), ["26 01:30"]),
        ("0 3 * * *", "Europe/Berlin", BERLIN_AUTUMN, ["25 02:00", "26 02:00"]),
        ("0,30 1,2 * * *", "Europe/Berlin", BERLIN_AUTUMN, ["25 00:30", "26 00:00", "26 00:30"]),
        ("30 1 * * *", "America/New_York", YORK_AUTUMN, ["01 05:30", "02 06:30"]),
        ("45 1 * * *", "Australia/Lord_Howe", HOWE_AUTUMN, ["04 14:45", "05 15:15"]),
        # put back, every hour: as time goes
        ("30 * * * *", "Europe/Berlin", BERLIN_AUTUMN, ["25 00:30", "25 01:30", "25 02:30"]),
        ("*/20 * * * *", "America/New_York", YORK_AUTUMN + timedelta(hours=2.5), ["01 05:40", "01 06:00", "01 06:20"]),
        ("45 * * * *", "Australia/Lord_Howe", HOWE_AUTUMN, ["04 13:45", "04 14:45", "04 15:15", "04 16:15"]),
        # a whole day that never was
        ("0 12 * * *", "Pacific/Apia", datetime(2011, 12, 29, tzinfo=UTC), ["29 22:00", "30 10:00", "30 22:00"]),
        # zones in the expression
        ("CRON_TZ=Asia/Tokyo 0 9 * * *", "", BERLIN_SPRING - timedelta(minutes=1), ["29 00:00", "30 00:00"]),
        ("TZ=Asia/Tokyo @daily", "UTC", BERLIN_SPRING, ["29 15:00", "30 15:00"]),
        ("CRON_TZ=Asia/Tokyo 0 9 * * *", "Asia/Tokyo", BERLIN_SPRING, ["30 00:00"]),
        ("0 9 * * *", "", BERLIN_SPRING, ["29 09:00", "30 09:00"]),
    ],
)
def test_zones(expression: str, zone: str, start: datetime, expected: list[str]) -> None:
    """Cases C25 and C28: zones, and days on which the clock is put forward or back."""
    assert times(expression, zone, start, len(expected)) == expected


def test_every_quarter_in_every_zone() -> None:
    """What is due every quarter of an hour is due every quarter of an hour, whatever is done to clocks."""
    for zone in ("Europe/Berlin", "America/New_York", "America/St_Johns", "Africa/Casablanca", "Pacific/Auckland"):
        table = schedule.timetable("*/15 * * * *", zone)
        at = datetime(2026, 1, 1, tzinfo=UTC)
        for _ in range(365 * 96):
            after = table.after(at)
            assert after == at + timedelta(minutes=15), (zone, at)
            at = after


def test_once_a_day_in_every_zone() -> None:
    """What is due once a day is due on each day once."""
    for zone in ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "America/Santiago"):
        for hour in range(4):
            table = schedule.timetable(f"30 {hour} * * *", zone)
            at, days = datetime(2026, 1, 1, 12, tzinfo=UTC), []
            for _ in range(365):
                after = table.after(at)
                assert after is not None
                at = after
                days.append(at.astimezone(table.zone).date())
            assert days == [days[0] + timedelta(days=n) for n in range(365)], zone


@pytest.mark.parametrize(
    ("expression", "zone", "said"),
    [
        ("0 9 * * *", "Mars/Olympus", "timezone: 'Mars/Olympus' is not a time zone"),
        ("0 9 * * *", "../../etc/passwd", "timezone: "),
        ("0 9 * * *", "Europe", "timezone: 'Europe' is not a time zone"),
        ("CRON_TZ=Nowhere 0 9 * * *", "", "expression: 'Nowhere' is not a time zone"),
        ("CRON_TZ=Asia/Tokyo 0 9 * * *", "Europe/Berlin", "leave out one"),
        ("CRON_TZ=Asia/Tokyo", "", "expression: ''"),
        ("61 * * * *", "UTC", "expression: minute: '61'"),
        ("FOO=1 * * * *", "UTC", "expression: minute: 'FOO=1'"),
    ],
)
def test_nonsense(expression: str, zone: str, said: str) -> None:
    """Case C28: a bad zone is told of, with its field."""
    with pytest.raises(Invalid) as error:
        schedule.timetable(expression, zone)
    assert said in str(error.value)


NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("minutes", "at", "expected"),
    [
        (10, timedelta(0), timedelta(minutes=10)),
        (10, timedelta(seconds=1), timedelta(minutes=10)),
        (10, timedelta(minutes=9, seconds=59), timedelta(minutes=10)),
        (10, timedelta(minutes=10), timedelta(minutes=20)),
        (200, timedelta(days=400), timedelta(minutes=200 * 2881)),
        (10, timedelta(seconds=-1), timedelta(0)),
        (10, timedelta(days=-30), timedelta(0)),
    ],
)
def test_rate(minutes: int, at: timedelta, expected: timedelta) -> None:
    grid = schedule.rate(timedelta(minutes=minutes), NOON + timedelta(microseconds=7))
    assert grid.after(NOON + at) == NOON + expected


def test_rates_that_are_none() -> None:
    for interval in (timedelta(0), timedelta(days=36601)):
        with pytest.raises(Invalid):
            schedule.rate(interval, NOON)
    assert (
        schedule.rate(timedelta(days=36600), datetime(9990, 1, 1, tzinfo=UTC)).after(datetime(9999, 1, 1, tzinfo=UTC))
        is None
    )


@pytest.mark.parametrize(
    ("limit", "now", "expected"),
    [
        (1, 0, (0, 10)),
        (1, 9, (0, 10)),
        (1, 10, (10, 20)),
        (3, 10, (0, 10)),
        (3, 20, (0, 10)),
        (3, 30, (10, 20)),
        (3, 1000, (980, 990)),
        (1, 5_000_000, (5_000_000, 5_000_010)),
    ],
)
def test_due(limit: int, now: int, expected: tuple[int, int]) -> None:
    grid = schedule.rate(timedelta(minutes=10), NOON)
    found = schedule.due(grid, NOON, NOON + timedelta(minutes=now), limit)
    assert found == tuple(NOON + timedelta(minutes=minutes) for minutes in expected)


def test_due_after_years() -> None:
    """A schedule of long ago costs no more than one of today."""
    table = schedule.timetable("*/5 3 * * 1", "Europe/Berlin")
    first = table.after(datetime(1999, 1, 1, tzinfo=UTC))
    assert first is not None
    found = schedule.due(table, first, NOON, 2)
    assert found == (datetime(2026, 3, 2, 2, 50, tzinfo=UTC), datetime(2026, 3, 2, 2, 55, tzinfo=UTC))
