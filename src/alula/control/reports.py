"""What is reported of attempts from elsewhere. Reports come late, twice or never: the row is the same in the end.

An attempt ends with the first end that is told of it. What is told of a later attempt begins that, even if it is its
end: the report of its beginning may be lost, or still on its way.
"""

from dataclasses import replace
from datetime import datetime

from alula.control import cascade
from alula.core.action import Action, CacheStatus, Event
from alula.core.phase import Phase, follows
from alula.core.progress import Progress
from alula.storage.database import Tx
from alula.wire.actions import output_prefix

_TRIED_AGAIN = (Phase.FAILED, Phase.TIMED_OUT)  # of the ends those that another attempt may follow


def meant(action: Action, event: Event) -> Event | None:
    """What counts of an event that a cluster of this server's own tells: where an attempt is, and what is to be seen of
    it. How the attempts end that this server brings about, and what follows, it decides itself.
    """
    if not action.hosted:
        return event
    if event.attempt > action.attempt:
        return None
    if not event.phase.terminal:
        return event
    return replace(event, phase=Phase.QUEUED, failure=None, output_uri="", report_uri="")


def takes(action: Action, attempt: int) -> bool:
    """Whether an action may go on to a later attempt."""
    return attempt > action.attempt and (action.phase in _TRIED_AGAIN or not action.phase.terminal)


async def take(tx: Tx, action: Action, event: Event, now: datetime) -> Progress | None:
    """What an event that is new means for its action; ``None``: nothing. It is for the caller to write."""
    later = takes(action, event.attempt)
    if event.attempt > action.attempt and not later:
        return None
    if event.attempt < action.attempt:
        return Progress(action, action, (event,), noted=True)
    fresh = _fresh(action, event) if later else action
    phase, logged, started_at = event.phase, fresh.logged or event.logged, _started(fresh, event)
    if not follows(fresh.phase, phase):
        return Progress(action, replace(fresh, logged=logged, started_at=started_at), (event,), noted=True)
    if phase.terminal:
        why = cascade.Why(event.reason, event.by) if event.reason or event.by else None
        return Progress(action, *await cascade.ended(tx, fresh, [event], now, why=why))
    return Progress(action, replace(fresh, phase=phase, logged=logged, started_at=started_at), (event,))


def _fresh(action: Action, event: Event) -> Action:
    """The row as a later attempt begins."""
    return replace(
        action,
        phase=Phase.QUEUED,
        attempt=event.attempt,
        queued_at=event.at,
        started_at=event.at if event.phase is Phase.RUNNING else None,
        ended_at=None,
        failure=None,
        logged=event.logged,
        cache_status=CacheStatus.DISABLED,
        output_uri=output_prefix(action.base_uri, action.id.name, event.attempt),
    )


def _started(action: Action, event: Event) -> datetime | None:
    if event.phase is not Phase.RUNNING:
        return action.started_at
    return min(action.started_at or event.at, event.at)
