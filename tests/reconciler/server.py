"""A server without its doors: real rows, real objects, the real reconciler, over a simulated machine."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

from alula.core.action import Action, Attempt
from alula.core.admission import Queue
from alula.core.history import attempts
from alula.core.ids import ROOT, ActionId
from alula.core.phase import Phase
from alula.reconciler.admission import Admission, Rules
from alula.reconciler.loop import Reconciler
from alula.reconciler.places import Destinations, Places
from alula.reconciler.slots import Slots
from alula.reconciler.step import Steps, Verbs
from alula.storage import actions as store
from alula.storage.changes import of_action
from alula.storage.database import Tx
from tests.control.world import World, creation, no_chance

from .ground import Ground

PATIENCE = 15.0  # seconds until a test that goes wrong is given up


async def nothing(tx: Tx) -> None:
    """A write that changes nothing: when it returns, every one before it is done."""


class Server:
    """Starts and stops reconcilers over one world and one ground."""

    def __init__(self, world: World, ground: Ground) -> None:
        self.world = world
        self.ground = ground
        self.queues: dict[str, Queue] = {}
        self.rules = Rules()
        self.destinations = Destinations({"SERVER": "here"})

    def reconciler(self, capacity: int = 16, *, attempts: Any = None, executor: Any = None) -> Reconciler:
        """A new one, that knows nothing but the rows."""
        verbs, machine = attempts or self.world.attempts, executor or self.ground
        rows = Verbs(verbs, self.world.caching, self.world.artifacts)
        slots = Slots(capacity, self.queues, self.rules.machine)
        here = Admission(verbs, slots, self.rules, self.world.clock)
        away = Admission(verbs, Slots(capacity), replace(self.rules, counted=False), self.world.clock)
        places = Places(here, away, self.destinations)
        steps = Steps(rows, machine, self.world.blobs, places, self.world.clock, self.destinations)
        return Reconciler(verbs, machine, self.world.changes, steps)

    @asynccontextmanager
    async def at_work(self, capacity: int = 16, **replaced: Any) -> AsyncIterator[None]:
        """Reconcile while the block lasts."""
        async with asyncio.timeout(PATIENCE):
            working = asyncio.create_task(self.reconciler(capacity, **replaced).run())
            try:
                yield
                assert not working.done(), "the reconciler gave up"
            finally:
                working.cancel()
                with suppress(asyncio.CancelledError):
                    await working

    async def start(self, run: str = "r", **changes: Any) -> ActionId:
        return (await self.world.runs.create(creation(run, **changes), no_chance)).id

    async def end(self, name: str = ROOT, run: str = "r") -> Action:
        """Wait until an action has ended."""
        async for details in self.world.actions.watch(self.world.id(name, run)):
            last = details.action
        return last

    async def made(self, name: str, run: str = "r") -> None:
        """Wait until there is an action of that name."""
        root = await self.world.get(ROOT, run)
        with self.world.changes.watch(of_action(root.run_key, name)) as changed:
            if await self.world.attempts.read(root.run_key, name) is None:
                await changed.next()

    async def reached(self, phase: Phase, name: str = ROOT, run: str = "r") -> Action:
        """Wait until an action is in a phase."""
        async for details in self.world.actions.watch(self.world.id(name, run)):
            if details.action.phase is phase:
                return details.action
        raise AssertionError(f"it ended without having been {phase.name}")

    async def story(self, name: str = ROOT, run: str = "r") -> list[Attempt]:
        action = await self.world.get(name, run)
        return attempts(await self.world.database.read(lambda tx: store.events(tx, action.run_key, name)))
