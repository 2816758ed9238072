"""The loop that keeps the world in line with the rows."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import suppress

from alula.control.attempts import Attempts
from alula.core.errors import Stale, Unavailable
from alula.core.naming import attempt_name
from alula.core.phase import Phase
from alula.executors.base import Executor
from alula.reconciler.hints import Hints
from alula.reconciler.lease import ALONE, Holding
from alula.reconciler.step import Steps
from alula.storage.changes import Changes, everything

_log = logging.getLogger(__name__)
_WORKERS = 64  # steps under way at once; each mostly waits for a commit or for a process to start
# By others; into the other phases the steps here bring a row.
_ASKED_FOR = frozenset({Phase.QUEUED, Phase.PAUSED, Phase.ABORTED})
_TICK = 10.0  # seconds; finds what hints missed
_TURN = 200  # names made until others have their turn
_RETRY = 2.0  # seconds until a step that failed is tried again


class Reconciler:
    """Works until it is cancelled. Killed and started again it goes on: the rows are its memory.

    ``holding`` says which runs are its own; what is not it neither looks at nor leaves running here.
    """

    def __init__(
        self, attempts: Attempts, executor: Executor, changes: Changes, steps: Steps, holding: Holding = ALONE
    ) -> None:
        self._attempts = attempts
        self._executor = executor
        self._changes = changes
        self._steps = steps
        self._holding = holding
        self._hints = Hints()
        self._look = asyncio.Event()  # what changed is not known: look at everything now
        self._counted = asyncio.Event()  # what runs already has its places: others may be handed out

    def busy(self) -> Iterator[int]:
        """The runs that have work under way here."""
        yield from (run for run, _ in self._hints.busy())
        yield from (run for run, _ in self._steps.names.values())

    async def run(self) -> None:
        hints = self._hints
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen_to_leases())
            tasks.create_task(self._listen_to_rows(hints))
            tasks.create_task(self._listen_to_executor(hints))
            tasks.create_task(self._tick(hints))
            for _ in range(_WORKERS):
                tasks.create_task(self._work(hints))

    async def _work(self, hints: Hints) -> None:
        await self._counted.wait()
        while True:
            async with hints.next() as key:
                if not self._holding.has(key[0]):
                    self._steps.forget(key, hints)
                    continue
                try:
                    await self._steps.take(key, hints)
                except Stale:
                    hints.add([key])
                except Unavailable as error:
                    _log.warning("run %s action %s: %s; trying again", *key, error)
                    hints.add_later(key, _RETRY)
                except Exception:
                    _log.exception("run %s action %s: a step failed; trying again", *key)
                    hints.add_later(key, _RETRY)

    async def _listen_to_leases(self) -> None:
        with self._holding.watch() as changed:
            while True:
                await changed.wait()
                changed.clear()
                self._look.set()

    async def _listen_to_rows(self, hints: Hints) -> None:
        with self._changes.watch(everything()) as changed:
            while True:
                changes = await changed.next()
                if changes is None:
                    self._look.set()
                    continue
                asked_for = (change for change in changes if change.phase in _ASKED_FOR)
                hints.add([(change.run, change.action) for change in asked_for if self._holding.has(change.run)])

    async def _listen_to_executor(self, hints: Hints) -> None:
        async for name in self._executor.changes():
            if key := self._steps.names.get(name):
                hints.add([key])

    async def _tick(self, hints: Hints) -> None:
        while True:
            try:
                await self._sweep(hints)
            except Unavailable as error:
                _log.warning("not everything can be looked at: %s; trying again", error)
            except Exception:
                _log.exception("the sweep failed; trying again")
            self._counted.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(_TICK):
                    await self._look.wait()
            self._look.clear()

    async def _sweep(self, hints: Hints) -> None:
        """Look at every unfinished action, and end attempts that belong to none: a crash left them behind."""
        await self._attempts.orphans()
        existing = await self._executor.names()
        wanted = {}
        for count, action in enumerate(await self._attempts.queue(self._holding.shards)):
            wanted[attempt_name(action.id, action.attempt)] = (action.run_key, action.id.name)
            if count % _TURN == 0:
                await asyncio.sleep(0)
        ours = {name: wanted[name] for name in existing if name in wanted}
        self._steps.names.update(ours)
        await self._steps.count(ours, hints)
        hints.add(key for key in wanted.values() if not self._steps.waits(key))
        async with asyncio.TaskGroup() as tasks:
            for name in existing:
                if name not in wanted:
                    tasks.create_task(self._end(name, hints))

    async def _end(self, name: str, hints: Hints) -> None:
        """End an attempt. One that cannot be ended now keeps no other from its end: the next sweep finds it again."""
        try:
            await self._steps.end(name, hints)
        except Unavailable as error:
            _log.warning("attempt %s: %s; trying again", name, error)
