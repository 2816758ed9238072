"""What happened to attempts, written down: by the reconciler for its own executors, by events for those elsewhere.

Every verb takes the row as its caller read it and is refused as `Stale` if the row has moved on since.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from alula.base.clock import Clock
from alula.control import cascade, reports
from alula.control.secrets import Secrets
from alula.control.settings import applied
from alula.core.action import Action, CacheStatus, Event, Note, Unfinished
from alula.core.cache import Entry
from alula.core.decide import Retry
from alula.core.errors import NotFound
from alula.core.ids import ActionId, RunId
from alula.core.launch import Resources
from alula.core.phase import Phase
from alula.core.progress import Progress
from alula.core.retry import Budget
from alula.core.run import Run
from alula.core.scope import Scope
from alula.core.verdict import OUT_OF_MEMORY
from alula.storage import actions as store
from alula.storage import runs, specs
from alula.storage.database import Database, Tx
from alula.wire.actions import output_prefix
from alula.wire.launches import resources, secret_keys

_ASKED = 4096  # tasks of runs of which is remembered what they ask for
_PAGE = 200  # actions of the queue read at a time: a few milliseconds

Fence = Callable[[Tx, int], Awaitable[None]]  # refuses a write for a run that is another replica's


class Attempts:
    """The verbs of an attempt's life.

    ``fence``: of a reconciler among several. ``decides``: what is reported comes from this server's own clusters, and
    does not say how attempts end.
    """

    def __init__(
        self, database: Database, clock: Clock, secrets: Secrets, fence: Fence | None = None, *, decides: bool = False
    ) -> None:
        self._database = database
        self._clock = clock
        self._secrets = secrets
        self._fence = fence
        self._decides = decides
        self._asked: dict[tuple[int, bytes], Resources] = {}

    async def queue(self, shards: Collection[int] | None = None) -> list[Unfinished]:
        """Every task action that has not ended. It is read piece by piece, with turns for others in between.

        ``shards``: only of their runs.

        What ends, begins or is tried again meanwhile may be told of or not; all the rest is.
        """
        found: list[Unfinished] = []
        after = (-1, "")
        while page := await self._database.read(lambda tx, key=after: store.queue(tx, key, _PAGE, shards)):  # type: ignore[misc]
            found += page
            after = (page[-1].run_key, page[-1].id.name)
            await asyncio.sleep(0)
        return found

    async def read(self, run: int, name: str) -> Action | None:
        """One action, now."""
        return await self._database.read(lambda tx: store.get(tx, run, name))

    async def plan(self, action: Action) -> tuple[Run, bytes, Mapping[str, bytes]]:
        """What is needed to launch an action: its run, its spec, and the secrets that there are of those it names.

        Raises:
            LaunchRefused: a secret cannot be decrypted.
        """

        async def read(tx: Tx) -> tuple[Run, bytes]:
            run = await runs.get(tx, action.run_key)
            assert run is not None, "an action belongs to a run that exists"
            return run, await specs.get(tx, action.spec)

        run, spec = await self._database.read(read)
        keys = secret_keys(run, spec)
        return run, spec, await self._secrets.resolve(run.id.project, run.id.domain, keys)

    async def asked(self, action: Action) -> Resources:
        """What the attempts of an action ask of the machine, by its task, its run, and the settings of its project.

        Raises:
            LaunchRefused: its task describes nothing that can be started.
        """
        key = (action.run_key, action.spec)
        if key not in self._asked:

            async def read(tx: Tx) -> tuple[Run, bytes, Mapping[str, Any]]:
                run = await runs.get(tx, action.run_key)
                assert run is not None, "an action belongs to a run that exists"
                scope = Scope(run.id.domain, run.id.project)
                return run, await specs.get(tx, action.spec), await applied(tx, scope)

            run, spec, settings = await self._database.read(read)
            if len(self._asked) >= _ASKED:
                self._asked.clear()
            mirror = bool(settings.get("task_resource.mirror_limits_request"))
            self._asked[key] = resources(run, spec, mirror=mirror)
        return self._asked[key]

    async def kills(self, action: Action) -> int:
        """How many attempts of an action ran out of memory."""
        events = await self._database.read(lambda tx: store.events(tx, action.run_key, action.id.name))
        return len({event.attempt for event in events if event.failure and event.failure.code == OUT_OF_MEMORY})

    async def has_children(self, action: Action) -> bool:
        """Whether an action has called others."""
        return bool(await self._database.read(lambda tx: store.parents(tx, action.run_key, [action.id.name])))

    async def starting(self, action: Action) -> Action:
        """The attempt is about to be started. One of several reconcilers writes that down before: who takes the run
        over has to know of it, and must not start it again.
        """
        if self._fence is None:
            return action
        return await self.moved(action, Event(action.id.name, action.attempt, Phase.INITIALIZING, 0, self._clock()))

    async def moved(self, action: Action, event: Event) -> Action:
        """The attempt has come as far as ``event`` says."""
        now = self._clock()
        started = action.started_at or (event.at if event.phase is Phase.RUNNING else None)
        moved = replace(action, phase=event.phase, logged=event.logged, not_before=None, started_at=started)
        return await self._advance(action, moved, [event], now)

    async def looked_up(self, action: Action, status: CacheStatus) -> Action:
        """The cache was asked, and the attempt has to run."""
        now = self._clock()
        event = Event(action.id.name, action.attempt, action.phase, 0, now, cache_status=status)
        asked = replace(action, cache_status=status)
        return await self._advance(action, asked, [event], now)

    async def hit(self, action: Action, entry: Entry) -> Action:
        """The result was in the cache: the action is done."""
        told = Event(
            action=action.id.name,
            attempt=action.attempt,
            phase=Phase.SUCCEEDED,
            version=0,
            at=self._clock(),
            output_uri=f"{entry.uri}/outputs.pb",
            cache_status=CacheStatus.HIT,
            cache_source=entry.source,
        )
        return await self.settle(replace(action, output_uri=entry.uri), [told])

    async def retry(self, action: Action, happened: Sequence[Event], again: Retry) -> Action:
        """The attempt failed, as the last of ``happened`` says; the next one waits for its time."""
        now = self._clock()
        attempt = action.attempt + 1
        queued = replace(
            action,
            phase=Phase.QUEUED,
            attempt=attempt,
            queued_at=now,
            started_at=None,
            not_before=again.not_before if again.not_before > now else None,
            user_failures=action.user_failures + (again.budget is Budget.TASK),
            system_failures=action.system_failures + (again.budget is Budget.OURS),
            logged=False,
            cache_status=CacheStatus.DISABLED,
            output_uri=output_prefix(action.base_uri, action.id.name, attempt),
        )
        notes = (Note(now, again.note),) if again.note else ()
        events = [*happened, Event(action.id.name, attempt, Phase.QUEUED, 0, now, notes=notes)]
        return await self._advance(action, queued, events, now)

    async def settle(self, action: Action, happened: Sequence[Event]) -> Action:
        """The action ended, as the last of ``happened`` says; what is unfinished below it is aborted with it."""
        now = self._clock()

        async def write(tx: Tx) -> tuple[Action, set[str]]:
            await self._check(tx, action)
            ended = await cascade.end(tx, action, happened, now)
            return ended, await store.parents(tx, ended.run_key, [ended.id.name])

        ended, parents = await self._database.write(write)
        if parents:
            await cascade.abort_below(self._database, self._clock, ended, cascade.reason_below(ended))
        return ended

    async def orphans(self) -> None:
        """Abort what has not ended though its parent has: a crash came between the two."""
        for _, parent in await self._database.scan(store.orphans):
            await cascade.abort_below(self._database, self._clock, parent, cascade.reason_below(parent))

    async def record(self, reported: Iterable[tuple[ActionId, Event]]) -> None:
        """Take events that an executor elsewhere reports. All or nothing; what is late or repeated changes nothing.

        Raises:
            NotFound: an event is about an action that does not exist.
        """
        now = self._clock()
        by_run: dict[RunId, list[Event]] = {}
        for identifier, event in reported:
            by_run.setdefault(identifier.run, []).append(event)

        async def write(tx: Tx) -> list[Action]:
            decides = self._decides
            return [
                parent
                for run, events in by_run.items()
                for parent in await _take(tx, run, events, now, decides=decides)
            ]

        for parent in await self._database.write(write):
            await cascade.abort_below(self._database, self._clock, parent, cascade.reason_below(parent))

    async def _advance(self, old: Action, new: Action, happened: Sequence[Event], now: datetime) -> Action:
        async def write(tx: Tx) -> Action:
            await self._check(tx, old)
            return await store.advance(tx, old, new, happened, now)

        return await self._database.write(write)

    async def _check(self, tx: Tx, action: Action) -> None:
        if self._fence is not None:
            await self._fence(tx, action.run_key)


async def _take(tx: Tx, run: RunId, events: Sequence[Event], now: datetime, *, decides: bool) -> list[Action]:
    """Take the events of a run; those actions that ended by them and have children."""
    rows = await store.find_some(tx, run, {event.action for event in events})
    for event in events:
        if event.action not in rows:
            raise NotFound(f"action {ActionId(run, event.action)} does not exist: record it before its events")
    key = rows[events[0].action].run_key
    if decides:
        events = [one for event in events if (one := reports.meant(rows[event.action], event)) is not None]
    new = {store.telling(event): event for event in reversed(events)}  # the first of those that are the same
    told = await store.told(tx, key, new)
    steps: list[Progress] = []
    last: dict[str, Progress] = {}
    for event in [new[one] for one in reversed(new) if one not in told]:
        before = last.get(event.action)
        step = await reports.take(tx, before.after if before else rows[event.action], event, now)
        if step is not None:
            last[event.action] = step
            steps.append(step)
    await store.write(tx, steps, now)
    ended = {step.new.id.name: step.new for step in steps if step.moved and step.new.phase.terminal}
    return [ended[name] for name in await store.parents(tx, key, ended)]
