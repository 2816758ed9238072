"""When an action has taken too long: per attempt while it waits and while it runs, and over all of its attempts.

Rules: `core/tasks.proto` (`timeout`, `TimeoutStrategy`); the codes are those that the SDK maps to exceptions
(`_internal/runtime/convert.py`).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from alula.core.action import Action, Blame, Failure, Kind
from alula.core.phase import Phase

_WAITING = (Phase.QUEUED, Phase.WAITING_FOR_RESOURCES)


@dataclass(frozen=True, slots=True)
class Expiry:
    """A limit: when it is reached, and the failure that it then is. A deadline's is final, the others are retried."""

    at: datetime
    failure: Failure


def next_expiry(action: Action) -> Expiry | None:
    """The limit that an unfinished action reaches first; ``None`` if it has none."""
    policy = action.policy
    limits = []
    if policy.patience and action.kind is Kind.CONDITION:
        text = f"no signal came within {policy.patience:g} s"
        limits.append(_expiry(action.queued_at, policy.patience, "ConditionTimedOut", text, final=True))
    if policy.deadline:
        text = f"not done {policy.deadline:g} s after it was first queued"
        limits.append(_expiry(action.created_at, policy.deadline, "DEADLINE_EXCEEDED", text, final=True))
    if policy.queued_timeout and action.phase in _WAITING:
        text = f"not started {policy.queued_timeout:g} s after it was queued"
        since = max(action.queued_at, action.not_before or action.queued_at)  # a backoff is not the queue's fault
        limits.append(_expiry(since, policy.queued_timeout, "QUEUED_TIMEOUT_EXCEEDED", text))
    if policy.max_runtime and action.phase is Phase.RUNNING and action.started_at is not None:
        text = f"still running after {policy.max_runtime:g} s"
        limits.append(_expiry(action.started_at, policy.max_runtime, "MAX_RUNTIME_EXCEEDED", text))
    return min(limits, key=lambda limit: limit.at, default=None)


def _expiry(since: datetime, seconds: float, code: str, text: str, *, final: bool = False) -> Expiry:
    try:
        at = since + timedelta(seconds=seconds)
    except OverflowError:
        at = datetime.max.replace(tzinfo=since.tzinfo)
    return Expiry(at, Failure(code, text, Blame.USER, recoverable=not final))
