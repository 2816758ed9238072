"""The loop that keeps apps' processes in line with their rows: one keeper for each app."""

import asyncio
import logging

from alula.control.serving import Serving
from alula.control.traffic import Traffic
from alula.executors.process.apps import AppProcesses
from alula.reconciler.keeper import Keeper
from alula.wire.apps import Place

_log = logging.getLogger(__name__)
_RETRY = 2.0  # seconds until a keeper that failed is started again


class AppLoop:
    """Works until it is cancelled. What it knows besides the rows is what runs, which ends with it."""

    def __init__(self, serving: Serving, traffic: Traffic, processes: AppProcesses, place: Place) -> None:
        self._serving = serving
        self._traffic = traffic
        self._processes = processes
        self._place = place
        self._keepers: dict[int, Keeper] = {}

    async def run(self) -> None:
        await self._serving.begin()
        for name in await self._processes.names():
            await self._processes.release(name)
        await self._processes.keep(await self._serving.names())
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_processes())
            tasks.create_task(self._follow_traffic())
            async for changed in self._serving.changed():
                for key in await self._serving.keys() if changed is None else changed:
                    self._look(key, tasks)

    def _look(self, key: int, tasks: asyncio.TaskGroup) -> None:
        keeper = self._keepers.get(key)
        if keeper is None:
            self._keepers[key] = keeper = Keeper(key, self._serving, self._traffic, self._processes, self._place)
            tasks.create_task(self._keep(keeper), name=f"app-{key}")
        keeper.look.set()

    async def _keep(self, keeper: Keeper) -> None:
        """Let a keeper work until its app is gone and nobody has asked for another look meanwhile."""
        while True:
            keeper.look.clear()
            try:
                await keeper.run()
            except Exception:
                _log.exception("app %s: a step failed; trying again", keeper.key)
                await asyncio.sleep(_RETRY)
            else:
                if not keeper.look.is_set():
                    del self._keepers[keeper.key]
                    return

    async def _follow_processes(self) -> None:
        async for name in self._processes.changes():
            for keeper in self._keepers.values():
                if keeper.has(name):
                    keeper.look.set()

    async def _follow_traffic(self) -> None:
        async for key in self._traffic.needs():
            if keeper := self._keepers.get(key):
                keeper.look.set()
