"""Runs grouped by their tasks: what is told of a group, in which order, and what of it is news."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from alula.core.action import Blame
from alula.core.errors import Invalid
from alula.core.pages import Order, Where
from alula.core.phase import Phase


@dataclass(frozen=True, slots=True)
class GroupScope:
    """The groups that a watch is about: runs of a project and domain that began in a time, and meet ``where``."""

    project: str
    domain: str
    start: datetime  # inclusive
    end: datetime | None = None  # inclusive; None: and whatever begins later
    where: tuple[Where, ...] = ()
    order: tuple[Order, ...] = ()
    limit: int = 0  # 0: all


@dataclass(frozen=True, slots=True)
class Group:
    """The runs of one task. Averages are over those runs that have got so far; ``None`` if there is none."""

    task: str
    environment: str
    short_name: str
    phases: Mapping[Phase, int]
    errors: Mapping[Blame, int]
    recent: tuple[tuple[str, Phase], ...]  # names and phases of the newest runs, newest first
    created_by: tuple[str, ...]
    latest_run: datetime
    latest_finished: datetime | None
    duration: timedelta | None
    time_to_running: timedelta | None

    @property
    def total(self) -> int:
        return sum(self.phases.values())

    @property
    def failure_rate(self) -> float:
        """From 0 to 1: FAILED of all."""
        return self.phases.get(Phase.FAILED, 0) / self.total


_KEYS: Mapping[str, Callable[[Group], Any]] = {
    "task_name": lambda group: group.task,
    "short_name": lambda group: group.short_name,
    "environment_name": lambda group: group.environment,
    "total_runs": lambda group: group.total,
    "average_failure_rate": lambda group: group.failure_rate,
    "average_duration": lambda group: group.duration or timedelta(),
    "average_time_to_running": lambda group: group.time_to_running or timedelta(),
    "latest_run_time": lambda group: group.latest_run,
    "created_at": lambda group: group.latest_run,
    "latest_finished_time": lambda group: (group.latest_finished is not None, group.latest_finished),
}
NEWEST = (Order("latest_run_time", descending=True),)


def check_order(order: Iterable[Order]) -> None:
    """Raises `Invalid` for a field that groups cannot be ordered by."""
    for one in order:
        if one.field not in _KEYS:
            raise Invalid(f"request.sort_by_fields: {one.field!r} is none of {', '.join(sorted(_KEYS))}")


def page(groups: Iterable[Group], order: Iterable[Order], limit: int) -> dict[str, Group]:
    """The first ``limit`` groups (0: all) by their tasks, in order: if none is given, those with newer runs first."""
    found = sorted(groups, key=lambda group: group.task)
    for one in reversed(tuple(order) or NEWEST):
        found.sort(key=_KEYS[one.field], reverse=one.descending)
    return {group.task: group for group in found[: limit or None]}


def news(told: Mapping[str, Group], now: Mapping[str, Group]) -> tuple[list[Group], list[str]]:
    """What to tell somebody who knows ``told``: groups that are new or changed, and the tasks of those to forget."""
    changed = [group for task, group in now.items() if told.get(task) != group]
    return changed, [task for task in told if task not in now]
