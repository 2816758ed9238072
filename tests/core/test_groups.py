"""Groups of runs: which are told of, in which order, and what is news."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from alula.core.errors import Invalid
from alula.core.groups import Group, check_order, news, page
from alula.core.pages import Order
from alula.core.phase import Phase

_NOW = datetime(2026, 3, 4, tzinfo=UTC)


def _group(task: str, age: int, *, failed: int = 0, succeeded: int = 1, seconds: int | None = None) -> Group:
    phases = {Phase.FAILED: failed, Phase.SUCCEEDED: succeeded}
    duration = None if seconds is None else timedelta(seconds=seconds)
    return Group(task, "env", task, phases, {}, (), (), _NOW - timedelta(days=age), None, duration, None)


_GROUPS = [_group("c", 1, failed=3, seconds=5), _group("a", 3), _group("b", 2, failed=1, seconds=9), _group("d", 1)]


@pytest.mark.parametrize(
    ("order", "limit", "tasks"),
    [
        ([], 0, "cdba"),
        ([], 2, "cd"),
        ([Order("task_name", descending=False)], 0, "abcd"),
        ([Order("task_name", descending=True)], 3, "dcb"),
        ([Order("average_failure_rate", descending=True)], 0, "cbad"),
        ([Order("average_duration", descending=False), Order("task_name", descending=True)], 0, "dacb"),
        ([Order("created_at", descending=False)], 0, "abcd"),
        ([Order("latest_finished_time", descending=True)], 1, "a"),
    ],
)
def test_pages(order: list[Order], limit: int, tasks: str) -> None:
    assert "".join(page(_GROUPS, order, limit)) == tasks


def test_a_field_that_is_none() -> None:
    with pytest.raises(Invalid, match="color"):
        check_order([Order("color", descending=True)])


def test_news() -> None:
    told = page(_GROUPS, [], 2)
    assert news(told, told) == ([], [])
    newer = replace(_GROUPS[1], latest_run=_NOW)
    now = page([_GROUPS[0], newer, *_GROUPS[2:]], [], 2)
    assert news(told, now) == ([newer], ["d"]), "what a newer one drives out is to be forgotten"
    assert news({}, told) == (list(told.values()), [])


def test_rates_are_of_all_runs() -> None:
    assert _group("x", 1, failed=1, succeeded=3).failure_rate == 0.25
    assert _group("x", 1, failed=2, succeeded=3).total == 5
