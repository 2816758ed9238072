"""What ends with an action: everything below it that has not ended. Nobody is left to wait for that.

A run may have tens of thousands of actions, so they are ended some at a time. A crash in between leaves actions whose
parent has ended; the reconciler finds those (`Attempts.orphans`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from alula.base.clock import Clock
from alula.control import caching
from alula.core.action import Action, Event
from alula.core.phase import Phase
from alula.storage import actions as store
from alula.storage.database import Database, Tx

_SOME = 100  # actions ended in one transaction: bounds how long others wait for theirs


@dataclass(frozen=True, slots=True)
class Why:
    """Why something is aborted, and by whom ("" for this server itself)."""

    reason: str
    by: str = ""


async def abort_below(database: Database, clock: Clock, top: Action, why: Why) -> None:
    """Abort everything below an action that has not ended, nearest first; until the action itself is tried again."""

    async def some(tx: Tx) -> int:
        row = await store.get(tx, top.run_key, top.id.name)
        if row is None or not row.phase.terminal:
            return 0
        unfinished = await store.descendants(tx, top.run_key, top.id.name, _SOME)
        await abort_all(tx, unfinished, why, clock())
        return len(unfinished)

    while await database.write(some) == _SOME:
        pass


def reason_below(ended: Action) -> Why:
    """Why what is below an action is aborted with it."""
    if ended.abort_reason:
        return Why(ended.abort_reason, ended.by)
    return Why(f"its parent {ended.id.name} ended ({ended.phase.name}): nobody waits for it any more")


async def abort_all(tx: Tx, unfinished: Iterable[Action], why: Why, now: datetime) -> None:
    """Abort actions that have not ended. The reconciler sees their rows change, and ends what runs of them."""
    for action in unfinished:
        aborted = Event(action.id.name, action.attempt, Phase.ABORTED, 0, now, logged=action.logged)
        await end(tx, action, [aborted], now, why=why)


async def end(tx: Tx, action: Action, happened: Sequence[Event], now: datetime, *, why: Why | None = None) -> Action:
    """End an action, as the last of ``happened`` says.

    Raises:
        Stale: the row has moved on.
    """
    return await store.advance(tx, action, *await ended(tx, action, happened, now, why=why), now)


async def ended(
    tx: Tx, action: Action, happened: Sequence[Event], now: datetime, *, why: Why | None = None
) -> tuple[Action, tuple[Event, ...]]:
    """The row of an action that ends, and what happened; to be written. Its result is offered to the cache."""
    last = await caching.keep(tx, action, happened[-1], now)
    row = replace(
        action,
        phase=last.phase,
        ended_at=max(last.at, action.created_at),
        failure=last.failure,
        logged=action.logged or last.logged,
        abort_reason=why.reason if why else "",
        by=why.by if why else action.by,
        cache_status=last.cache_status or action.cache_status,
        value=last.value or action.value,
        not_before=None,
    )
    return row, (*happened[:-1], last)
