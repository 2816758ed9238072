"""Schedules: the times at which a trigger is due. All times are UTC; all that is random or now is an argument.

A schedule of the calendar follows the clock on the wall of its zone, also when that is put forward or back:

* Hours that are named (`30 2 * * *`) come once a day. A time that is skipped is due right after the gap, once;
  a time that comes twice is due the first time.
* If every hour is meant (`*/15 * * * *`), the schedule goes on as time does: nothing is due in the gap, and the
  hour that comes twice counts twice.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from alula.core import cron
from alula.core.errors import Invalid

_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)
_MOMENT = timedelta(microseconds=1)
_LONGEST = timedelta(days=36600)  # a century


@dataclass(frozen=True, slots=True)
class Rate:
    """Every ``interval`` on a grid that begins at ``anchor``, whatever else happens."""

    interval: timedelta
    anchor: datetime

    def after(self, at: datetime) -> datetime | None:
        """The first time after ``at``."""
        if at < self.anchor:
            return self.anchor
        try:
            return self.anchor + ((at - self.anchor) // self.interval + 1) * self.interval
        except OverflowError:
            return None


@dataclass(frozen=True, slots=True)
class Timetable:
    """A cron expression on the wall of a zone."""

    cron: cron.Cron
    zone: ZoneInfo

    def after(self, at: datetime) -> datetime | None:
        """The first time after ``at``, or ``None`` if there is none any more."""
        at = at.replace(microsecond=0)
        try:
            return self._every_hour_after(at) if self.cron.every_hour else self._named_after(at)
        except OverflowError:  # the end of the calendar
            return None

    def _named_after(self, at: datetime) -> datetime | None:
        wall = self._next(at.astimezone(self.zone))
        while wall is not None:
            first, second = self._both(wall)
            found = self._change(second, first) if second < first else first
            if found > at:
                return found
            wall = self._next(wall)
        return None

    def _every_hour_after(self, at: datetime) -> datetime | None:
        found = self._walked(at)
        horizon = at + _DAY if found is None else min(found, at + _DAY)
        if self._offset(horizon) >= self._offset(at):
            return found
        back = self._change(at, horizon)  # from here on times come a second time
        wall = self.cron.first(cron.following(self._wall(back) - _MOMENT))
        again = None if wall is None else wall.replace(tzinfo=UTC) - self._offset(back)
        return again if found is None or (again is not None and again < found) else found

    def _walked(self, at: datetime) -> datetime | None:
        wall = self._next(at.astimezone(self.zone))
        while wall is not None:
            first, second = self._both(wall)
            if first <= second and second > at:
                return first if first > at else second
            wall = self._next(wall)
        return None

    def _next(self, local: datetime) -> datetime | None:
        return self.cron.first(cron.following(local.replace(tzinfo=None)))

    def _both(self, wall: datetime) -> tuple[datetime, datetime]:
        """When the wall shows this: twice the same, the first and the second time, or (in a gap) the later first."""
        local = wall.replace(tzinfo=self.zone)
        return local.astimezone(UTC), local.replace(fold=1).astimezone(UTC)

    def _offset(self, at: datetime) -> timedelta:
        return at.astimezone(self.zone).utcoffset() or timedelta(0)

    def _wall(self, at: datetime) -> datetime:
        return at.astimezone(self.zone).replace(tzinfo=None)

    def _change(self, before: datetime, after: datetime) -> datetime:
        """When the clock was put forward or back, once between the two (whole seconds): the first second after it."""
        old = self._offset(before)
        while after - before > _SECOND:
            middle = before + (after - before) // _SECOND // 2 * _SECOND
            before, after = (middle, after) if self._offset(middle) == old else (before, middle)
        return after


Schedule = Rate | Timetable


def rate(interval: timedelta, anchor: datetime) -> Rate:
    """A fixed rate.

    Raises:
        Invalid: it is none that anybody would live to see.
    """
    if not timedelta(0) < interval <= _LONGEST:
        raise Invalid(f"value: an interval is more than nothing and at most {_LONGEST.days} days")
    return Rate(interval, anchor.replace(microsecond=0))


@lru_cache(maxsize=4096)
def timetable(expression: str, zone: str) -> Timetable:
    """A cron expression in a zone; it may name a zone itself: `CRON_TZ=Europe/Paris 0 9 * * *`.

    A zone of "" or "UTC" is what clients send who mean none, and gives way to that.

    Raises:
        Invalid: there is no such zone, they are two, or the expression is none. The message begins with the field.
    """
    named, _, rest = expression.strip().partition(" ")
    key, equals, own = named.partition("=")
    if not equals or key not in ("CRON_TZ", "TZ"):
        own, rest = "", expression
    if own and zone not in ("", "UTC", own):
        raise Invalid(f"expression: it names the zone {own}, and timezone is {zone}: leave out one of them")
    where = _zone("expression" if own else "timezone", own or zone or "UTC")
    try:
        return Timetable(cron.parse(rest), where)
    except Invalid as error:
        raise Invalid(f"expression: {error}") from None


def _zone(field: str, name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise Invalid(f"{field}: {name[:80]!r} is not a time zone; use a name such as Europe/Paris") from None


def due(schedule: Schedule, first: datetime, now: datetime, limit: int) -> tuple[datetime, datetime | None]:
    """Which time to act on now, and the one after it, when ``first`` was the one to act on next, and is over.

    It is ``first``, unless more than ``limit`` times are over meanwhile: then the first of the last ``limit``.
    """
    at, after = first, schedule.after(first)
    for _ in range(limit):
        if after is None or after > now:
            return first, schedule.after(first) if at != first else after
        at, after = after, schedule.after(after)
    found = _last(schedule, first, now, limit)
    return found, schedule.after(found)


def _last(schedule: Schedule, first: datetime, now: datetime, limit: int) -> datetime:
    """It looks back from now in windows that double, so that a long absence costs no more than a short one."""
    window = timedelta(minutes=limit)
    while True:
        since = now - window if window < now - first else first - _MOMENT
        found = []
        at = schedule.after(since)
        while at is not None and at <= now:
            found.append(at)
            at = schedule.after(at)
        if len(found) >= limit or since < first:
            return found[-limit:][0]
        window *= 2
