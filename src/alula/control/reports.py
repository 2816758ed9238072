"""What is reported of attempts from elsewhere. Reports come late, twice or never: the row is the same in the end.

An attempt ends with the first end that is told of it. What is told of a later attempt begins that, even if it is its
end: the report of its beginning may be lost, or still on its way.
"""

from dataclasses import replace
from datetime import datetime

from alula.control import cascade
from alula.core.action import Action, CacheStatus, Event
from alula.core.phase import Phase, follows
from alula.storage import actions as store
from alula.storage.database import Tx
from alula.wire.actions import output_prefix

_TRIED_AGAIN = (Phase.FAILED, Phase.TIMED_OUT)  # of the ends those that another attempt may follow


async def told(tx: Tx, action: Action, event: Event) -> bool:
    """Whether this very event was reported before: (attempt, phase, version, time) tell events apart."""
    return event.at in await store.times(tx, action.run_key, event)


def takes(action: Action, attempt: int) -> bool:
    """Whether an action may go on to a later attempt."""
    return attempt > action.attempt and (action.phase in _TRIED_AGAIN or not action.phase.terminal)


async def apply(tx: Tx, action: Action, event: Event, now: datetime) -> Action | None:
    """Take an event that is new; the row as it is now, if the event moved it on."""
    if takes(action, event.attempt):
        fresh = _fresh(action, event)
        if not event.phase.terminal:
            return await store.advance(tx, action, replace(fresh, phase=event.phase), [event], now)
        action = await store.advance(tx, action, fresh, [], now)
    if event.attempt > action.attempt:
        return None
    if event.attempt < action.attempt:
        await store.append(tx, action, event, now)
        return None
    known = replace(action, logged=action.logged or event.logged, started_at=_started(action, event))
    if not follows(action.phase, event.phase):
        await store.append(tx, known, event, now)
        return None
    if event.phase.terminal:
        why = cascade.Why(event.reason, event.by) if event.reason or event.by else None
        return await cascade.end(tx, replace(known, value=event.value), [event], now, why=why)
    return await store.advance(tx, action, replace(known, phase=event.phase), [event], now)


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
