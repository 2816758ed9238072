"""Cron expressions: which minutes of a calendar they name. Time zones are no matter of this file: see `schedule`.

Five fields (`minute hour day-of-month month day-of-week`, 0 and 7 are Sunday), the names `@hourly`, `@daily`, ...,
or the six fields of Amazon EventBridge (with a year; 1 is Sunday; one of the two day fields is `?`), also as
`cron(...)`. Both know `L`, `W` and `#`. A day has to be in both day fields if one of them begins with `*`; if neither
does, one of them is enough: crontab(5).
"""

import re
from bisect import bisect_left
from calendar import monthrange
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import NamedTuple

from alula.core.errors import Invalid

LAST_YEAR = 2199  # Amazon's; no expression is followed beyond it
_LONGEST = 1000  # characters
_NAMED = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_ANY = ("*", "?", "*/1")
_MINUTE = timedelta(minutes=1)


class _Field(NamedTuple):
    name: str
    low: int
    high: int
    words: tuple[str, ...] = ()


_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_MINUTES, _HOURS, _DAYS = _Field("minute", 0, 59), _Field("hour", 0, 23), _Field("day-of-month", 1, 31)
_MONTH, _YEAR = _Field("month", 1, 12, _MONTHS), _Field("year", 1970, LAST_YEAR)
_WEEK, _AMAZON_WEEK = _Field("day-of-week", 0, 7, _WEEKDAYS), _Field("day-of-week", 1, 7, _WEEKDAYS)


@dataclass(frozen=True, slots=True)
class MonthDay:
    """A day of a month: counted from its first day (1) or from its last one (0), perhaps the workday next to it."""

    number: int
    from_end: bool = False
    workday: bool = False

    def of(self, year: int, month: int) -> int | None:
        """The day, if this month has it."""
        _, last = monthrange(year, month)
        day = last - self.number if self.from_end else self.number
        if not 1 <= day <= last:
            return None
        return _workday(year, month, day, last) if self.workday else day


def _workday(year: int, month: int, day: int, last: int) -> int:
    """The workday nearest to a day; it never leaves the month."""
    match date(year, month, day).isoweekday():
        case 6:
            return day - 1 if day > 1 else day + 2
        case 7:
            return day + 1 if day < last else day - 2
        case _:
            return day


@dataclass(frozen=True, slots=True)
class WeekDay:
    """A day of the week (0 is Sunday) in a month: all of them (0), the ``which``-th one, or the last one (-1)."""

    number: int
    which: int = 0

    def of(self, year: int, month: int) -> Sequence[int]:
        """Its days, if this month has any."""
        before, last = monthrange(year, month)  # 0 is Monday
        first = (self.number - 1 - before) % 7 + 1
        days = range(first, last + 1, 7)
        if self.which == 0:
            return days
        return days[-1:] if self.which < 0 else days[self.which - 1 : self.which]


@dataclass(frozen=True, slots=True)
class Cron:
    """A set of minutes. Of ``month_days`` and ``week_days`` ``None`` means any."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    month_days: tuple[MonthDay, ...] | None
    months: tuple[int, ...]
    week_days: tuple[WeekDay, ...] | None
    years: tuple[int, ...]
    every_hour: bool  # the hour is not named: "*", or steps of it
    either: bool  # of two day fields one is enough

    def first(self, at: datetime) -> datetime | None:
        """The first of these minutes that is not before ``at`` (without a zone, whole minutes)."""
        for day in self._days(at.date()):
            earliest = (at.hour, at.minute) if day == at.date() else (0, 0)
            for hour in self.hours[bisect_left(self.hours, earliest[0]) :]:
                place = bisect_left(self.minutes, earliest[1] if hour == earliest[0] else 0)
                if place < len(self.minutes):
                    return datetime(day.year, day.month, day.day, hour, self.minutes[place])  # noqa: DTZ001 - on a wall
        return None

    def _days(self, start: date) -> Iterator[date]:
        for year in self.years[bisect_left(self.years, start.year) :]:
            for month in self.months:
                if (year, month) < (start.year, start.month):
                    continue
                least = start.day if (year, month) == (start.year, start.month) else 1
                for day in self._days_of(year, month):
                    if day >= least:
                        yield date(year, month, day)

    def _days_of(self, year: int, month: int) -> Sequence[int]:
        if self.month_days is None and self.week_days is None:
            return range(1, monthrange(year, month)[1] + 1)
        days = {day.of(year, month) for day in self.month_days or ()} - {None}
        week = {day for weekday in self.week_days or () for day in weekday.of(year, month)}
        both = self.month_days is not None and self.week_days is not None and not self.either
        return sorted(day for day in (days & week if both else days | week) if day is not None)


def following(at: datetime) -> datetime:
    """The first whole minute after a time."""
    return at.replace(second=0, microsecond=0) + _MINUTE


def parse(text: str) -> Cron:
    """Read an expression.

    Raises:
        Invalid: it is none; the message names the field.
    """
    if len(text) > _LONGEST:
        raise Invalid(f"a cron expression has at most {_LONGEST} characters")
    bare = re.sub(r"^cron\((.*)\)$", r"\1", text.strip(), flags=re.DOTALL)
    fields = _NAMED.get(bare.lower(), bare).upper().split()
    match fields:
        case [minute, hour, day, month, weekday]:
            days, weekdays = _month_days(day), _week_days(weekday, _WEEK)
            years = "*"
        case [minute, hour, day, month, weekday, years]:
            if (day == "?") == (weekday == "?"):
                raise Invalid(
                    f"{text!r}: of six fields (the last is the year) either day-of-month or day-of-week is '?'"
                )
            days, weekdays = _month_days(day), _week_days(weekday, _AMAZON_WEEK)
        case _:
            raise Invalid(
                f"{text!r}: a cron expression is 5 fields (minute hour day-of-month month day-of-week), "
                f"6 fields (with a year), or one of {', '.join(_NAMED)}"
            )
    return Cron(
        minutes=_numbers(minute, _MINUTES),
        hours=_numbers(hour, _HOURS),
        month_days=days,
        months=_numbers(month, _MONTH),
        week_days=weekdays,
        years=_numbers(years, _YEAR),
        every_hour=hour.startswith("*"),
        either=not (day.startswith("*") or weekday.startswith("*")),
    )


def _numbers(text: str, field: _Field) -> tuple[int, ...]:
    return tuple(sorted({number for part in text.split(",") for number in _range(part, field)}))


def _range(part: str, field: _Field) -> range:
    """`*`, `a`, `a-b`, each perhaps with `/step`; `a/step` goes on to the end."""
    base, slash, step = part.partition("/")
    low, dash, high = base.partition("-")
    every = _number(step, _Field(f"step of {field.name}", 1, field.high)) if slash else 1
    if base == "*":
        return range(field.low, field.high + 1, every)
    first = _number(low, field)
    last = _number(high, field) if dash else (field.high if slash else first)
    if last < first:
        raise Invalid(f"{field.name}: the range {base!r} runs backwards; write it as two, with a comma")
    return range(first, last + 1, every)


def _number(text: str, field: _Field) -> int:
    if text in field.words:
        return field.words.index(text) + field.low
    if re.fullmatch(r"[0-9]{1,4}", text) and field.low <= int(text) <= field.high:
        return int(text)
    names = f" or {field.words[0]}-{field.words[-1]}" if field.words else ""
    raise Invalid(f"{field.name}: {text!r} is not within {field.low}-{field.high}{names}")


def _month_days(text: str) -> tuple[MonthDay, ...] | None:
    if text in _ANY:
        return None
    return tuple(day for part in text.split(",") for day in _month_day(part))


def _month_day(part: str) -> Iterator[MonthDay]:
    if found := re.fullmatch(r"L(?:-([0-9]{1,2}))?(W?)", part):
        back = _number(found[1] or "0", _Field("days before the last day-of-month", 0, 30))
        yield MonthDay(back, from_end=True, workday=bool(found[2]))
    elif found := re.fullmatch(r"([0-9]+)W", part):
        yield MonthDay(_number(found[1], _DAYS), workday=True)
    else:
        yield from (MonthDay(number) for number in _range(part, _DAYS))


def _week_days(text: str, field: _Field) -> tuple[WeekDay, ...] | None:
    if text in _ANY:
        return None
    return tuple(day for part in text.split(",") for day in _week_day(part, field))


def _week_day(part: str, field: _Field) -> Iterator[WeekDay]:
    if part == "L":
        yield WeekDay(6)  # the last day of the week
    elif found := re.fullmatch(r"([0-9A-Z]+)#(.*)", part):
        which = _number(found[2], _Field("week of a day-of-week", 1, 5))
        yield WeekDay(_weekday(found[1], field), which)
    elif found := re.fullmatch(r"([0-9]|[A-Z]{3})L", part):
        yield WeekDay(_weekday(found[1], field), -1)
    else:
        yield from (WeekDay((number - field.low) % 7) for number in _range(part, field))


def _weekday(text: str, field: _Field) -> int:
    return (_number(text, field) - field.low) % 7
