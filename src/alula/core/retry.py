"""When a failed attempt is tried again."""

from dataclasses import replace
from datetime import datetime, timedelta
from enum import Enum

from alula.core.action import Action, Blame, Failure, Policy
from alula.core.launch import MoreMemory, Resources
from alula.core.verdict import Verdict

_LONGEST = 365 * 86400.0  # seconds
_MOST_MEMORY = 2**62  # bytes


class Budget(Enum):
    """What a retry is taken from."""

    TASK = "the retries that the task allows"
    OURS = "what is forgiven of failures that are not the task's own"
    MEMORY = "the tries with more memory"


def delay(policy: Policy, retry: int) -> timedelta:
    """How long the ``retry``-th retry (from 0) waits: ``min(base * factor**retry, cap)``, and at most a year."""
    cap = _LONGEST if policy.backoff_cap is None else min(policy.backoff_cap, _LONGEST)
    if not policy.backoff_base:
        return timedelta(0)
    try:
        return timedelta(seconds=min(policy.backoff_base * policy.backoff_factor**retry, cap))
    except OverflowError:  # more than a float holds
        return timedelta(seconds=cap)


def next_try(action: Action, verdict: Verdict, now: datetime) -> datetime | None:
    """When to start the next attempt, or ``None`` when the failure is final.

    A failure that is not the attempt's own has a budget of its own, and no backoff. What user code reports about
    itself, also as a system error, counts against the task's retries (executor.md 8.4).
    """
    if verdict.failure is None or not verdict.failure.recoverable:
        return None
    if verdict.forgiven:
        return now if action.system_failures < verdict.forgiven else None
    if action.user_failures >= action.policy.retries:
        return None
    return now + delay(action.policy, action.user_failures)


def raised(asked: Resources, more: MoreMemory, kills: int) -> Resources:
    """What an attempt gets after ``kills`` others ran out of memory: its limit, and in proportion what is requested.

    Never less than was asked for; without a limit there is nothing to raise.
    """
    limit = asked.limits.memory
    most = max(limit, more.cap or _MOST_MEMORY)
    grown = limit
    for _ in range(min(kills, more.times)):
        grown = int(min(grown * more.factor, most))
    if grown <= limit:
        return asked
    request = asked.requests.memory * grown // limit
    return replace(asked, requests=replace(asked.requests, memory=request), limits=replace(asked.limits, memory=grown))


def final(action: Action, verdict: Verdict) -> Failure | None:
    """What an action ends with once nothing is left to try: its last failure, or what many of ours amount to."""
    failure = verdict.failure
    if failure is None or not verdict.forgiven:
        return failure
    return Failure(
        code="MaxSystemFailuresExceeded",
        message=f"gave up after {action.system_failures + 1} failures that are not the task's own: {failure.message}",
        blame=Blame.SYSTEM,
        recoverable=False,
    )
