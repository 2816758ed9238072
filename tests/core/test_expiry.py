"""Limits of time: which one is reached first, from when it counts, and what follows."""

from datetime import timedelta

import pytest

from alula.core.action import Policy
from alula.core.decide import Expire, Judge, Retry, Settle, Submit, Wait, conclude_expired, decide
from alula.core.expiry import next_expiry
from alula.core.launch import Observation, Presence
from alula.core.phase import Phase

from .builders import NOW, action


def after(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("policy", "changes", "code", "seconds"),
    [
        (Policy(), {}, None, 0),
        (Policy(max_runtime=5), {}, None, 0),  # it does not run yet
        (Policy(max_runtime=5), {"phase": Phase.RUNNING, "started_at": NOW + after(2)}, "MAX_RUNTIME_EXCEEDED", 7),
        (Policy(queued_timeout=5), {}, "QUEUED_TIMEOUT_EXCEEDED", 5),
        (Policy(queued_timeout=5), {"queued_at": NOW + after(3)}, "QUEUED_TIMEOUT_EXCEEDED", 8),
        (Policy(queued_timeout=5), {"not_before": NOW + after(9)}, "QUEUED_TIMEOUT_EXCEEDED", 14),
        (Policy(queued_timeout=5), {"phase": Phase.INITIALIZING}, None, 0),
        (Policy(deadline=5), {"queued_at": NOW + after(3), "attempt": 2}, "DEADLINE_EXCEEDED", 5),
        (Policy(deadline=9, queued_timeout=5), {}, "QUEUED_TIMEOUT_EXCEEDED", 5),
        (Policy(deadline=4, queued_timeout=5), {}, "DEADLINE_EXCEEDED", 4),
        (Policy(deadline=1e15), {}, "DEADLINE_EXCEEDED", None),
    ],
)
def test_next_expiry(policy: Policy, changes: dict[str, object], code: str | None, seconds: float | None) -> None:
    """Case C32: which limit, and when."""
    found = next_expiry(action(policy=policy, **changes))
    assert (found.failure.code if found else None) == code
    if found is not None and seconds is not None:
        assert found.at == NOW + after(seconds)


RUNNING = {"phase": Phase.RUNNING, "started_at": NOW, "policy": Policy(max_runtime=5)}


def test_a_limit_is_reached_at_its_moment_and_not_before() -> None:
    seen = Observation(Presence.RUNNING, started_at=NOW)
    assert decide(action(**RUNNING), seen, NOW + after(4.999)) == Wait()
    assert isinstance(decide(action(**RUNNING), seen, NOW + after(5)), Expire)


@pytest.mark.parametrize("presence", [Presence.EXITED, Presence.LOST])
def test_what_ended_in_time_is_judged_however_late_that_is_seen(presence: Presence) -> None:
    assert decide(action(**RUNNING), Observation(presence), NOW + after(60)) == Judge()


def test_what_was_ended_for_its_limit_before_a_crash_is_expired_again() -> None:
    assert isinstance(decide(action(**RUNNING), None, NOW + after(60)), Expire)


def test_a_queued_action_is_started_until_its_limit() -> None:
    queued = action(policy=Policy(queued_timeout=5))
    assert decide(queued, None, NOW) == Submit()
    assert isinstance(decide(queued, None, NOW + after(5)), Expire)


@pytest.mark.parametrize(
    ("policy", "failures", "ends"),
    [
        (Policy(max_runtime=5), 0, True),
        (Policy(max_runtime=5, retries=1), 0, False),
        (Policy(max_runtime=5, retries=1), 1, True),
        (Policy(deadline=5, retries=3), 0, True),
    ],
)
def test_a_limit_takes_a_retry_but_a_deadline_is_final(policy: Policy, failures: int, ends: bool) -> None:
    late = action(phase=Phase.RUNNING, started_at=NOW, policy=policy, user_failures=failures)
    expiry = next_expiry(late)
    assert expiry is not None
    conclusion = conclude_expired(late, expiry.failure, NOW + after(9))
    assert conclusion == (Settle(Phase.TIMED_OUT, expiry.failure) if ends else Retry(expiry.failure, NOW + after(9)))
