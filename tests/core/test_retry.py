"""When a failed attempt is tried again, how long that waits, and what is said when nothing is left to try."""

from dataclasses import replace
from datetime import timedelta

import pytest

from alula.core.action import Blame, Failure, Policy
from alula.core.launch import Amounts, MoreMemory, Resources
from alula.core.retry import delay, final, next_try, raised
from alula.core.verdict import Verdict

from .builders import FAILURE, NOW, action, after

_YEARS = timedelta(days=36500)


@pytest.mark.parametrize(
    ("base", "factor", "cap", "waits"),
    [
        (0.0, 1.0, None, [0, 0, 0]),
        (2.0, 1.0, None, [2, 2, 2]),
        (1.0, 2.0, None, [1, 2, 4, 8]),
        (1.0, 2.0, 3.0, [1, 2, 3, 3]),
        (10.0, 2.0, 5.0, [5, 5]),
        (0.5, 3.0, None, [0.5, 1.5, 4.5]),
        (1.0, 2.0, 0.0, [0, 0]),
        (0.0, 9.0, 5.0, [0, 0]),
    ],
)
def test_delay(base: float, factor: float, cap: float | None, waits: list[float]) -> None:
    policy = Policy(backoff_base=base, backoff_factor=factor, backoff_cap=cap)
    assert [delay(policy, n).total_seconds() for n in range(len(waits))] == waits


@pytest.mark.parametrize(
    ("base", "factor", "cap", "retry", "expected"),
    [
        (1.0, 10.0, 60.0, 400, timedelta(seconds=60)),  # 10.0 ** 400 is no float any more
        (1.0, float("inf"), 60.0, 3, timedelta(seconds=60)),
        (0.0, 10.0, None, 400, timedelta(0)),
        (0.0, float("inf"), None, 1, timedelta(0)),
    ],
)
def test_delay_beyond_floats(base: float, factor: float, cap: float | None, retry: int, expected: timedelta) -> None:
    assert delay(Policy(backoff_base=base, backoff_factor=factor, backoff_cap=cap), retry) == expected


@pytest.mark.parametrize(("base", "factor", "retry"), [(1.0, 10.0, 400), (1.0, 2.0, 100), (315_576_000_000.0, 1.0, 0)])
def test_a_delay_can_be_added_to_now(base: float, factor: float, retry: int) -> None:
    """A client may ask for more than a calendar holds; that must not keep its action from going on."""
    policy = Policy(retries=1000, backoff_base=base, backoff_factor=factor)
    again = next_try(action(policy=policy, user_failures=retry), Verdict(FAILURE), NOW)
    assert again is not None
    assert NOW < again <= NOW + _YEARS


@pytest.mark.parametrize(
    ("retries", "failures", "again"),
    [(0, 0, False), (1, 0, True), (1, 1, False), (3, 2, True), (3, 3, False), (3, 7, False)],
)
def test_the_tasks_own_budget(retries: int, failures: int, again: bool) -> None:
    tried = action(policy=Policy(retries=retries), user_failures=failures, system_failures=9)
    assert next_try(tried, Verdict(FAILURE), NOW) == (NOW if again else None)


@pytest.mark.parametrize(
    ("forgiven", "failures", "again"), [(1, 0, True), (1, 1, False), (3, 2, True), (3, 3, False), (20, 19, True)]
)
def test_the_budget_for_failures_that_are_not_its_own(forgiven: int, failures: int, again: bool) -> None:
    patient = Policy(retries=0, backoff_base=60.0)
    tried = action(policy=patient, user_failures=9, system_failures=failures)
    assert next_try(tried, Verdict(FAILURE, forgiven), NOW) == (NOW if again else None), "without a backoff"


def test_backoff_counts_the_tasks_own_failures() -> None:
    policy = Policy(retries=5, backoff_base=1.0, backoff_factor=2.0)
    tried = action(policy=policy, user_failures=2, system_failures=4)
    assert next_try(tried, Verdict(FAILURE), NOW) == after(4)


@pytest.mark.parametrize("forgiven", [0, 3])
def test_a_failure_that_is_not_recoverable_is_final(forgiven: int) -> None:
    hopeless = replace(FAILURE, recoverable=False)
    assert next_try(action(policy=Policy(retries=5)), Verdict(hopeless, forgiven), NOW) is None


def test_a_success_is_not_tried_again() -> None:
    assert next_try(action(policy=Policy(retries=5)), Verdict(), NOW) is None
    assert final(action(), Verdict()) is None


def test_the_last_failure_is_kept_as_it_is() -> None:
    assert final(action(user_failures=2), Verdict(FAILURE)) is FAILURE


def test_many_failures_of_ours_get_a_name_of_their_own() -> None:
    found = final(action(system_failures=3), Verdict(Failure("Interrupted", "killed", Blame.SYSTEM), 3))
    assert found is not None
    assert (found.code, found.blame, found.recoverable) == ("MaxSystemFailuresExceeded", Blame.SYSTEM, False)
    assert "4 failures" in found.message
    assert "killed" in found.message


_GIB = 1024**3


@pytest.mark.parametrize(
    ("more", "kills", "limits"),
    [
        (MoreMemory(), 1, (1, 1)),  # nobody asked for it
        (MoreMemory(3), 0, (1, 1)),
        (MoreMemory(3), 1, (2, 2)),
        (MoreMemory(3), 3, (8, 8)),
        (MoreMemory(3), 4, (8, 8)),  # no more than three times
        (MoreMemory(3, cap=3 * _GIB), 2, (3, 3)),
        (MoreMemory(3, cap=3 * _GIB), 3, (3, 3)),
        (MoreMemory(3, cap=_GIB // 2), 1, (1, 1)),  # a cap takes nothing away
        (MoreMemory(100, 999.0), 100, (2**32, 2**32)),
    ],
)
def test_more_memory(more: MoreMemory, kills: int, limits: tuple[int, int]) -> None:
    asked = Resources(Amounts(cpu=1, memory=_GIB), Amounts(cpu=2, memory=_GIB))
    found = raised(asked, more, kills)
    assert (found.requests.memory, found.limits.memory) == tuple(limit * _GIB for limit in limits)
    assert (found.requests.cpu, found.limits.cpu) == (1, 2)


def test_a_request_grows_with_its_limit() -> None:
    asked = Resources(Amounts(memory=_GIB), Amounts(memory=4 * _GIB))
    assert raised(asked, MoreMemory(1, 1.5), 1) == Resources(Amounts(memory=3 * _GIB // 2), Amounts(memory=6 * _GIB))


def test_without_a_limit_there_is_nothing_to_raise() -> None:
    assert raised(Resources(), MoreMemory(3), 2) == Resources()
