"""Actions: enqueue, abort, look, watch."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime

from flyteidl2.workflow.run_service_pb2 import WatchActionsResponse

from alula.base.clock import Clock
from alula.control import recovery
from alula.control.cascade import Why, abort_all, abort_below
from alula.control.trees import Trees
from alula.core.action import Action, CacheStatus, Details, Event, Kind, NewAction, Note
from alula.core.errors import Aborted, Invalid, NotFound
from alula.core.history import attempts
from alula.core.ids import ROOT, ActionId, RunId
from alula.core.pages import Page
from alula.core.phase import UNSUCCESSFUL
from alula.core.view import Sieve
from alula.storage import actions as store
from alula.storage import runs, specs
from alula.storage.changes import Changes, of_action, of_children
from alula.storage.database import Database, Tx
from alula.wire.actions import output_prefix

_BATCH = 500  # rows a watch reads at a time: what a slow reader costs in memory


class Actions:
    """The verbs of actions below the root."""

    def __init__(self, database: Database, changes: Changes, clock: Clock) -> None:
        self._database = database
        self._changes = changes
        self._clock = clock
        self._trees = Trees(database, changes)

    async def enqueue(self, run: RunId, new: NewAction) -> None:
        """Accept a child action; it is on disk when this returns. Again, the same name is the same action.

        A child that failed under an earlier attempt of its parent is tried again when the parent asks again.

        Raises:
            NotFound: there is no such run or parent.
            Aborted: the parent has ended; it gets no more children.
        """
        if new.parent is None:
            raise Invalid("action.parent_action_name: only a run's root has no parent, and CreateRun makes that")
        now = self._clock()

        async def write(tx: Tx) -> None:
            parent = await _require(tx, ActionId(run, new.parent or ROOT))
            known = await store.get(tx, parent.run_key, new.name)
            if known is not None and not _outdated(known, parent):
                await _adopt(tx, known, parent, now)
                return
            if parent.phase.terminal:
                raise Aborted(f"action {parent.id} has ended ({parent.phase.name}): it takes no more children")
            if known is not None:
                await _again(tx, known, parent, new, now)
                return
            begun = await recovery.taken_over(tx, parent, replace(new, queue=new.queue or parent.queue))
            digest = await specs.put(tx, begun.spec)
            await store.insert(tx, parent.run_key, begun, parent_attempt=parent.attempt, spec=digest, now=now)
            if parent.recovers is not None:
                await recovery.take_traces(tx, await _require(tx, ActionId(run, new.name)), now)

        await self._database.write(write)

    async def abort(self, action: ActionId, reason: str, by: str = "") -> None:
        """End an action and everything below it. One that has ended already stays as it is.

        Raises:
            NotFound: there is no such action.
        """
        why = reason or "aborted"

        async def write(tx: Tx) -> Action:
            top = await _require(tx, action)
            await abort_all(tx, [] if top.phase.terminal else [top], Why(why, by), self._clock())
            return top

        await abort_below(self._database, self._clock, await self._database.write(write), Why(why, by))

    async def get(self, action: ActionId) -> Action:
        """An action's row.

        Raises:
            NotFound: there is no such action.
        """
        return await self._database.read(lambda tx: _require(tx, action))

    async def details(self, action: ActionId) -> Details:
        """Everything about an action.

        Raises:
            NotFound: there is no such action.
        """
        return await self._database.read(lambda tx: _details(tx, action))

    async def page(self, run: RunId, asked: Page) -> tuple[list[Action], str]:
        """One page of a run's actions and the token of the next.

        Raises:
            NotFound: there is no such run.
        """

        async def read(tx: Tx) -> tuple[list[Action], str]:
            root = await _require(tx, ActionId(run, ROOT))
            return await runs.page_of_actions(tx, root.run_key, asked)

        return await self._database.scan(read)

    async def watch(self, action: ActionId) -> AsyncIterator[Details]:
        """An action as it is, then whenever it changes, until it has ended: the last one tells how."""
        row = await self.get(action)
        with self._changes.watch(of_action(row.run_key, row.id.name)) as changed:
            while True:
                details = await self.details(action)
                yield details
                if details.action.phase.terminal:
                    return
                await changed.next()

    async def watch_notes(self, action: ActionId, attempt: int) -> AsyncIterator[list[Note]]:
        """What is noted of an attempt beside its phases, each note once, until the action has ended.

        Raises:
            NotFound: there is no such action.
        """
        row = await self.get(action)
        seq = -1
        with self._changes.watch(of_action(row.run_key, row.id.name)) as changed:
            while True:

                async def read(tx: Tx, after: int = seq) -> tuple[Action, list[Event]]:
                    return await _require(tx, action), await store.story_after(
                        tx, row.run_key, row.id.name, attempt, after
                    )

                now, events = await self._database.read(read)
                seq = events[-1].seq if events else seq
                if notes := [note for event in events for note in event.notes]:
                    yield notes
                if now.phase.terminal:
                    return
                await changed.next()

    async def watch_children(self, parent: ActionId) -> AsyncIterator[list[Action] | None]:
        """The children of an action: all there are, then ``None``, then whatever changes, for ever.

        Left out are failures under an earlier attempt of the parent: it is to try those again, not to fail by them.
        """
        row = await self.get(parent)
        seq = -1
        with self._changes.watch(of_children(row.run_key, parent.name)) as changed:
            told = False
            while True:
                children = await self._database.read(
                    lambda tx, after=seq: store.children_after(tx, row.run_key, parent.name, after, _BATCH)  # type: ignore[misc]
                )
                if children:
                    seq = children[-1].seq
                    now = await self.get(parent)
                    yield [child for child in children if not _outdated(child, now)]
                elif told:
                    await changed.next()
                else:
                    told = True
                    yield None

    async def watch_tree(self, run: RunId, org: str, sieve: Sieve) -> AsyncIterator[WatchActionsResponse]:
        """A run's actions with the phases of everything below each: all there are, then whatever changes, for ever.

        Raises:
            NotFound: there is no such run.
        """
        root = await self.get(ActionId(run, ROOT))
        async with aclosing(self._trees.watch(root.run_key, org, sieve)) as messages:
            async for message in messages:
                yield message


async def _adopt(tx: Tx, known: Action, parent: Action, now: datetime) -> None:
    """A child that runs on is the new attempt's from now on: should it fail yet, that one is to be told."""
    if not known.phase.terminal and known.parent_attempt < parent.attempt:
        same = Event(known.id.name, known.attempt, known.phase, 0, now)  # a new version: who works on it looks again
        await store.advance(tx, known, replace(known, parent_attempt=parent.attempt), [same], now)


async def _again(tx: Tx, known: Action, parent: Action, new: NewAction, now: datetime) -> None:
    """Try a child again; a trace was tried by its parent, who tells how that ended."""
    attempt = known.attempt + 1
    prefix = output_prefix(known.base_uri, new.name, attempt)
    fresh = replace(
        known,
        phase=new.phase,
        attempt=attempt,
        queued_at=now,
        started_at=None,
        parent_attempt=parent.attempt,
        ended_at=(new.ended_at or now) if new.phase.terminal else None,
        user_failures=0,
        system_failures=0,
        logged=False,
        abort_reason="",
        by="",
        value=b"",
        cache_status=CacheStatus.DISABLED,
        failure=new.failure,
        output_uri=new.output_uri if new.kind is Kind.TRACE else prefix,
    )
    await store.advance(tx, known, fresh, store.beginning(new, attempt, now), now)


def _outdated(child: Action, parent: Action) -> bool:
    return child.phase in UNSUCCESSFUL and child.parent_attempt < parent.attempt


async def _require(tx: Tx, action: ActionId) -> Action:
    found = await store.find(tx, action)
    if found is None:
        what = f"run {action.run}" if action.name == ROOT else f"action {action}"
        raise NotFound(f"{what} does not exist")
    return found


async def _details(tx: Tx, action: ActionId) -> Details:
    found = await _require(tx, action)
    events = await store.events(tx, found.run_key, found.id.name)
    return Details(found, tuple(attempts(events)), await specs.get(tx, found.spec))
