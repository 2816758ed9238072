"""What happened to attempts, written down: by the reconciler for its own executors, by events for those elsewhere.

Every verb takes the row as its caller read it and is refused as `Stale` if the row has moved on since.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from alula.base.clock import Clock
from alula.core.action import Action, Event
from alula.core.errors import NotFound
from alula.core.ids import ActionId
from alula.core.phase import Phase, follows
from alula.core.run import Run
from alula.storage import actions as store
from alula.storage import runs, specs
from alula.storage.database import Database, Tx
from alula.wire.actions import output_prefix


class Attempts:
    """The verbs of an attempt's life."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def queue(self) -> list[Action]:
        """Every task action that has not ended."""
        return await self._database.scan(store.queue)

    async def read(self, run: int, name: str) -> Action | None:
        """One action, now."""
        return await self._database.read(lambda tx: store.get(tx, run, name))

    async def plan(self, action: Action) -> tuple[Run, bytes]:
        """What is needed to launch an action: its run and its spec."""

        async def read(tx: Tx) -> tuple[Run, bytes]:
            run = await runs.get(tx, action.run_key)
            assert run is not None, "an action belongs to a run that exists"
            return run, await specs.get(tx, action.spec)

        return await self._database.read(read)

    async def moved(self, action: Action, event: Event) -> Action:
        """The attempt has come as far as ``event`` says."""
        now = self._clock()
        started = action.started_at or (event.at if event.phase is Phase.RUNNING else None)
        moved = replace(action, phase=event.phase, logged=event.logged, not_before=None, started_at=started)
        return await self._database.write(lambda tx: store.advance(tx, action, moved, [event], now))

    async def retry(self, action: Action, happened: Sequence[Event], not_before: datetime, *, ours: bool) -> Action:
        """The attempt failed, as the last of ``happened`` says; the next one waits until ``not_before``."""
        now = self._clock()
        attempt = action.attempt + 1
        queued = replace(
            action,
            phase=Phase.QUEUED,
            attempt=attempt,
            not_before=not_before if not_before > now else None,
            user_failures=action.user_failures + (not ours),
            system_failures=action.system_failures + ours,
            logged=False,
            output_uri=output_prefix(action.base_uri, action.id.name, attempt),
        )
        events = [*happened, Event(action.id.name, attempt, Phase.QUEUED, 0, now)]
        return await self._database.write(lambda tx: store.advance(tx, action, queued, events, now))

    async def settle(self, action: Action, happened: Sequence[Event]) -> Action:
        """The action ended, as the last of ``happened`` says; what is unfinished below it is aborted with it."""
        now = self._clock()
        return await self._database.write(lambda tx: _end_with_children(tx, action, happened, now))

    async def record(self, reported: Iterable[tuple[ActionId, Event]]) -> None:
        """Take events that an executor elsewhere reports. All or nothing; what is late or repeated changes nothing.

        Raises:
            NotFound: an event is about an action that does not exist.
        """
        now = self._clock()
        events = list(reported)

        async def write(tx: Tx) -> None:
            for identifier, event in events:
                await _apply(tx, identifier, event, now)

        await self._database.write(write)


async def _end_with_children(tx: Tx, action: Action, happened: Sequence[Event], now: datetime) -> Action:
    ended = await _end(tx, action, happened, now)
    reason = f"its parent {action.id.name} ended ({ended.phase.name}): nobody waits for it any more"
    await abort_all(tx, await store.descendants(tx, action.run_key, action.id.name), reason, now)
    return ended


async def abort_all(tx: Tx, unfinished: Iterable[Action], reason: str, now: datetime) -> None:
    """Abort actions that have not ended. The reconciler sees their rows change, and ends what runs of them."""
    for action in unfinished:
        end = Event(action.id.name, action.attempt, Phase.ABORTED, 0, now, logged=action.logged)
        await _end(tx, action, [end], now, abort_reason=reason)


async def _end(tx: Tx, action: Action, happened: Sequence[Event], now: datetime, *, abort_reason: str = "") -> Action:
    end = happened[-1]
    ended = replace(
        action,
        phase=end.phase,
        ended_at=max(end.at, action.created_at),
        failure=end.failure,
        logged=action.logged or end.logged,
        abort_reason=abort_reason,
        not_before=None,
    )
    return await store.advance(tx, action, ended, happened, now)


async def _apply(tx: Tx, identifier: ActionId, event: Event, now: datetime) -> None:
    action = await store.find(tx, identifier)
    if action is None:
        raise NotFound(f"action {identifier} does not exist: record it before its events")
    if await _known(tx, action, event):
        return
    if event.attempt == action.attempt and event.phase.terminal and follows(action.phase, event.phase):
        await _end_with_children(tx, action, [event], now)
    elif event.attempt == action.attempt and follows(action.phase, event.phase):
        moved = replace(action, phase=event.phase, logged=action.logged or event.logged)
        await store.advance(tx, action, moved, [event], now)
    elif event.attempt > action.attempt and not event.phase.terminal and not action.phase.success:
        again = replace(
            action, phase=event.phase, attempt=event.attempt, ended_at=None, failure=None, logged=event.logged
        )
        await store.advance(tx, action, again, [event], now)
    else:
        await store.append(tx, action, event, now)


async def _known(tx: Tx, action: Action, event: Event) -> bool:
    """Whether this very event was reported before: (attempt, phase, version, time) tell events apart."""
    told = await store.events(tx, action.run_key, action.id.name)
    return any((e.attempt, e.phase, e.at) == (event.attempt, event.phase, event.at) for e in told)
