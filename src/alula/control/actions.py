"""Actions: enqueue, abort, look, watch."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, suppress

from flyteidl2.workflow.run_service_pb2 import WatchActionsResponse

from alula.base.clock import Clock
from alula.control.cascade import Why, abort_all, abort_below
from alula.control.children import Asked, accept, outdated
from alula.control.joint import Joint
from alula.control.trees import Trees
from alula.core.action import Action, Details, Event, NewAction, Note
from alula.core.errors import DomainError, Invalid, NotFound
from alula.core.history import attempts
from alula.core.ids import ROOT, ActionId, RunId
from alula.core.pages import Page
from alula.core.phase import UNSUCCESSFUL
from alula.core.view import Sieve
from alula.storage import actions as store
from alula.storage import runs, specs
from alula.storage.changes import Changes, Watch, of_action, of_children
from alula.storage.database import Database, Tx

_SOON = 0.05  # seconds; how long a parent does not hear of a child that goes on
_BATCH = 500  # rows a watch reads at a time: what a slow reader costs in memory


class Actions:
    """The verbs of actions below the root."""

    def __init__(self, database: Database, changes: Changes, clock: Clock) -> None:
        self._database = database
        self._changes = changes
        self._clock = clock
        self._trees = Trees(database, changes)
        self._asked = Joint(database, self._accept)

    async def enqueue(self, run: RunId, new: NewAction) -> None:
        """Accept a child action; it is on disk when this returns. Again, the same name is the same action.

        A child that failed under an earlier attempt of its parent is tried again when the parent asks again.

        Raises:
            NotFound: there is no such run or parent.
            Aborted: the parent has ended; it gets no more children.
        """
        if new.parent is None:
            raise Invalid("action.parent_action_name: only a run's root has no parent, and CreateRun makes that")
        await self._asked.put(Asked(run, new))

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
        with self._changes.signal(of_action(row.run_key, row.id.name)) as changed:
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
        with self._changes.signal(of_action(row.run_key, row.id.name)) as changed:
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
        now = await self.get(parent)
        run, seq = now.run_key, -1
        with self._changes.watch(of_children(run, parent.name)) as changed:
            told = False
            while True:
                children = await self._database.read(
                    lambda tx, after=seq: store.children_after(tx, run, parent.name, after, _BATCH)  # type: ignore[misc]
                )
                if children:
                    seq = children[-1].seq
                    if any(child.phase in UNSUCCESSFUL for child in children):
                        now = await self.get(parent)
                    yield [child for child in children if not outdated(child, now)]
                if len(children) == _BATCH:
                    continue
                if not told:
                    told = True
                    yield None
                await _ends(changed)

    async def _accept(self, tx: Tx, asked: Sequence[Asked]) -> list[DomainError | None]:
        return await accept(tx, asked, self._clock())

    async def watch_tree(self, run: RunId, org: str, sieve: Sieve) -> AsyncIterator[WatchActionsResponse]:
        """A run's actions with the phases of everything below each: all there are, then whatever changes, for ever.

        Raises:
            NotFound: there is no such run.
        """
        root = await self.get(ActionId(run, ROOT))
        async with aclosing(self._trees.watch(root.run_key, org, sieve)) as messages:
            async for message in messages:
                yield message


async def _ends(changed: Watch) -> None:
    """Return once one of them has ended; soon after any other change. What ends at once is told of once."""
    with suppress(TimeoutError):
        changes = await changed.next()
        async with asyncio.timeout(_SOON):
            while changes is not None and not any(change.phase.terminal for change in changes):
                changes = await changed.next()


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
