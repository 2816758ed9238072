"""The one place where it is decided what happens to an action next, for every executor alike."""

from dataclasses import dataclass
from datetime import datetime

from alula.core.action import Action, CacheStatus, Failure
from alula.core.expiry import next_expiry
from alula.core.launch import Observation, Presence
from alula.core.phase import Phase
from alula.core.retry import Budget, final, next_try
from alula.core.verdict import Verdict


@dataclass(frozen=True, slots=True)
class LookUp:
    """Ask the cache before the current attempt is started."""


@dataclass(frozen=True, slots=True)
class Submit:
    """Start the current attempt."""


@dataclass(frozen=True, slots=True)
class Move:
    """Record that the attempt has come as far as ``phase``."""

    phase: Phase


@dataclass(frozen=True, slots=True)
class Judge:
    """The attempt is over: look at what it wrote, then ask `conclude`."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Record that the attempt failed, and queue the next one; ``note`` is to be told of that."""

    failure: Failure
    not_before: datetime
    budget: Budget = Budget.TASK
    note: str = ""


@dataclass(frozen=True, slots=True)
class Settle:
    """Record how the action ended."""

    phase: Phase
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Release:
    """The action has ended: its executor is to end and forget the attempt."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do; look again when something changes, or at ``until``."""

    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Expire:
    """The attempt has taken too long: end it, look at what it wrote, then ask `conclude_expired`."""

    failure: Failure


# How far an action has come whose attempt is there; one of which nothing exists yet has come no further.
_REACHED = {
    Presence.WAITING: Phase.WAITING_FOR_RESOURCES,
    Presence.STARTING: Phase.INITIALIZING,
    Presence.RUNNING: Phase.RUNNING,
}

Step = LookUp | Submit | Move | Judge | Release | Expire | Wait
Conclusion = Retry | Settle


def decide(action: Action, seen: Observation | None, now: datetime) -> Step:
    """The next step for a task action, from its row and from what its executor sees of the current attempt."""
    if action.phase.terminal:
        return Wait() if seen is None else Release()
    if seen is not None and seen.presence in (Presence.EXITED, Presence.LOST):
        return Judge()  # before any limit: what was done in time counts
    expiry = next_expiry(action)
    if expiry is not None and expiry.at <= now:
        return Expire(expiry.failure)
    if seen is None:
        return _unseen(action, now)
    reached = _REACHED.get(seen.presence, Phase.QUEUED)
    return Move(reached) if reached > action.phase else Wait()


def decide_condition(action: Action, now: datetime) -> Settle | Wait:
    """The next step for a condition: nothing brings it about, only its patience ends."""
    expiry = next_expiry(action)
    if action.phase.terminal or expiry is None:
        return Wait()
    return Settle(Phase.TIMED_OUT, expiry.failure) if expiry.at <= now else Wait(until=expiry.at)


def _unseen(action: Action, now: datetime) -> Step:
    if action.phase >= Phase.INITIALIZING:
        return Judge()  # it was started and its executor knows nothing of it: lost
    if action.not_before is not None and action.not_before > now:
        return Wait(until=action.not_before)
    if action.cache_key and action.cache_status is CacheStatus.DISABLED:
        return LookUp()
    return Submit()


def conclude(action: Action, verdict: Verdict, now: datetime) -> Conclusion:
    """What an attempt that is over means for its action."""
    failure = verdict.failure
    if failure is None:
        return Settle(Phase.SUCCEEDED)
    again = next_try(action, verdict, now)
    if again is not None:
        return Retry(failure, again, Budget.OURS if verdict.forgiven else Budget.TASK)
    return Settle(Phase.FAILED, final(action, verdict))


def conclude_expired(action: Action, failure: Failure, now: datetime) -> Conclusion:
    """What a limit that was reached means for an action whose attempt had not written its result."""
    again = next_try(action, Verdict(failure), now)
    return Settle(Phase.TIMED_OUT, failure) if again is None else Retry(failure, again)
