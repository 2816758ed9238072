"""Watches of a run's actions as a tree. However many watch a run, its rows are read, and its messages made, once."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field

from flyteidl2.workflow.run_service_pb2 import WatchActionsResponse

from alula.core.action import Action
from alula.core.phase import Phase
from alula.core.tree import Tree
from alula.core.view import Sieve, View
from alula.storage import actions as store
from alula.storage.changes import Changes, of_run
from alula.storage.database import Database
from alula.wire import filters

_BATCH = 500  # actions read, or told of, at a time
_PACE = 0.0002  # seconds of pause for each watcher before the next change is told: a crowd leaves others their turns
_SOME = 2000  # actions looked at for a new view between two turns of others


@dataclass(frozen=True, slots=True)
class _Node:
    parent: str | None
    phase: Phase
    title: str
    message: bytes  # serialised workflow.Action


@dataclass(eq=False, slots=True)
class _Shared:
    """A view that several watchers read. ``unseen`` are the actions that it has yet to look at."""

    view: View
    unseen: list[str]
    watchers: int = 0
    made_at: int = 0
    made: dict[tuple[int, int], tuple[WatchActionsResponse, int]] = field(default_factory=dict)


class _Board:
    """What is known of one run: a tail of its rows, and the views of those who watch it."""

    def __init__(self, org: str) -> None:
        self._org = org
        self._tree: Tree[Phase] = Tree()
        self._nodes: dict[str, _Node] = {}
        self._moved = asyncio.Event()
        self._views: dict[Sieve, _Shared] = {}
        self.error: Exception | None = None

    async def follow(self, database: Database, changes: Changes, run: int) -> None:
        """Read the rows of a run, and then every change, for ever."""
        seq = -1
        try:
            with changes.signal(of_run(run)) as changed:
                while True:
                    batch = await database.read(lambda tx, after=seq: store.changed_after(tx, run, after, _BATCH))  # type: ignore[misc]
                    for action in batch:
                        self._put(action)
                        seq = action.seq
                    self._wake()
                    await (asyncio.sleep(0) if batch else changed.next())
                    await asyncio.sleep(_PACE * sum(shared.watchers for shared in self._views.values()))
        except Exception as error:
            self.error = error
            self._wake()

    def _wake(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()

    def _put(self, action: Action) -> None:
        name = action.id.name
        node = _Node(action.parent, action.phase, filters.title(action), filters.action_bytes(action, self._org))
        self._nodes[name] = node
        touched = self._tree.update(name, node.parent, node.phase)
        for shared in self._views.values():
            shared.view.update(name, node.parent, node.phase, node.title, touched)

    async def watch(self, sieve: Sieve) -> AsyncGenerator[WatchActionsResponse, None]:
        shared = self._views.setdefault(sieve, _Shared(View(sieve), list(self._nodes)))
        shared.watchers += 1
        try:
            stamp, began = 0, shared.view.stamp
            while True:
                moved = self._moved
                self._look(shared)
                message, stamp = self._message(shared, stamp, began)
                if message is not None:
                    yield message
                elif self.error is not None:
                    raise self.error
                elif shared.unseen:
                    await asyncio.sleep(0)
                else:
                    await moved.wait()
        finally:
            shared.watchers -= 1
            if not shared.watchers and self._views.get(sieve) is shared:
                del self._views[sieve]

    def _look(self, shared: _Shared) -> None:
        """Show some of what was there before the view was."""
        for name in shared.unseen[-_SOME:]:
            node = self._nodes[name]
            shared.view.update(name, node.parent, node.phase, node.title, ())
        del shared.unseen[-_SOME:]

    def _message(self, shared: _Shared, stamp: int, began: int) -> tuple[WatchActionsResponse | None, int]:
        """The next message for whoever has read up to a stamp; the same one for all of those."""
        view = shared.view
        if view.stamp <= stamp:
            return None, stamp
        if shared.made_at != view.stamp:
            shared.made.clear()
            shared.made_at = view.stamp
        known = shared.made.get((stamp, began if stamp < began else 0))
        if known is None:
            found, after = view.after(stamp, _BATCH, began)
            told = [(self._nodes[name].message, shown, self._tree.below(name)) for name, shown in found]
            known = filters.response(told), after
            shared.made = {**dict(list(shared.made.items())[-3:]), (stamp, began if stamp < began else 0): known}
        message, after = known
        return (message if message.enriched_actions else None), after


@dataclass(eq=False, slots=True)
class _Open:
    """A board that is watched, and who reads its rows."""

    board: _Board
    reader: asyncio.Task[None]
    watchers: int = 0


class Trees:
    """The boards that are watched now."""

    def __init__(self, database: Database, changes: Changes) -> None:
        self._database = database
        self._changes = changes
        self._boards: dict[tuple[int, str], _Open] = {}

    async def watch(self, run: int, org: str, sieve: Sieve) -> AsyncGenerator[WatchActionsResponse, None]:
        """A run's actions with the phases of everything below each: all there are, then whatever changes, for ever."""
        opened = self._boards.get((run, org)) or self._open(run, org)
        opened.watchers += 1
        try:
            async with aclosing(opened.board.watch(sieve)) as messages:
                async for message in messages:
                    yield message
        finally:
            opened.watchers -= 1
            if not opened.watchers:
                del self._boards[run, org]
                opened.reader.cancel()

    def _open(self, run: int, org: str) -> _Open:
        board = _Board(org)
        reader = asyncio.create_task(board.follow(self._database, self._changes, run))
        return self._boards.setdefault((run, org), _Open(board, reader))
