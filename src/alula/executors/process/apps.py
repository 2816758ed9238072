"""Apps as processes of this machine: attempts of a `ProcessExecutor` that is theirs alone, and where they listen."""

import asyncio
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import Self

from alula.core.app import RESERVED_PORTS
from alula.core.launch import Launch, LogLine, Observation
from alula.executors.process import listening, records, segments
from alula.executors.process.environments.finder import Environments
from alula.executors.process.executor import ProcessExecutor
from alula.executors.process.life import Habits
from alula.executors.process.listening import Listener
from alula.executors.process.segments import Segments

_LOG_CAP = 32 * 1024 * 1024  # bytes of one replica's log


class AppProcesses:
    """The promise of an `Executor`, and what apps need besides. Use it with ``async with``.

    The launcher is started with the first app: who serves none pays nothing. When the server ends, so do they; what a
    crash left is ended when the next server takes the home over.

    Args:
        home: a private folder, not that of another executor.
        environments: see `ProcessExecutor`.
    """

    def __init__(self, home: Path, environments: Environments | None = None) -> None:
        self._home = records.Home(home.absolute())
        habits = Habits(_LOG_CAP, outlive=False)
        self._executor = ProcessExecutor(home, mode="spawn", environments=environments, habits=habits)
        self._begun = asyncio.Event()
        self._beginning = asyncio.Lock()

    async def __aenter__(self) -> Self:
        if self._home.attempts.exists() and any(self._home.attempts.iterdir()):
            await self._begin()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._begun.is_set():
            await self._executor.__aexit__()

    async def _begin(self) -> None:
        async with self._beginning:
            if not self._begun.is_set():
                await self._executor.__aenter__()
                self._begun.set()

    async def submit(self, launch: Launch) -> None:
        """See `Executor.submit`."""
        await self._begin()
        await self._executor.submit(launch)

    async def observe(self, name: str) -> Observation | None:
        """See `Executor.observe`."""
        return await self._executor.observe(name)

    async def release(self, name: str) -> None:
        """See `Executor.release`."""
        await self._executor.release(name)

    async def forget_log(self, name: str) -> bool:
        """See `Executor.forget_log`."""
        return await self._executor.forget_log(name)

    def logs(self, name: str, *, follow: bool) -> AsyncIterator[list[LogLine]]:
        """See `Executor.logs`."""
        return self._executor.logs(name, follow=follow)

    async def changes(self) -> AsyncIterator[str]:
        """See `Executor.changes`."""
        await self._begun.wait()
        async for name in self._executor.changes():
            yield name

    async def names(self) -> list[str]:
        """See `Executor.names`."""
        return await self._executor.names()

    async def free_port(self, declared: int) -> int:
        """A port for a replica that is about to be started."""
        return await asyncio.to_thread(listening.free_port, {*RESERVED_PORTS, declared})

    async def listeners(self, name: str, ports: Collection[int]) -> list[Listener]:
        """Where a replica listens; ``ports`` are those it may."""
        process = await asyncio.to_thread(records.read, self._home.attempt(name) / records.PROCESS)
        if process is None or not process["pid"]:
            return []
        return await asyncio.to_thread(listening.listeners, process["pid"], ports)

    async def forget(self, names: Collection[str]) -> None:
        """Remove the logs of replicas that have ended."""
        await asyncio.to_thread(self._remove, names)

    async def keep(self, names: Collection[str]) -> None:
        """Remove the logs of all others that do not run."""
        if self._home.logs.exists():
            await asyncio.to_thread(segments.keep, self._home, {*names, *await self.names()})

    def _remove(self, names: Collection[str]) -> None:
        for name in names:
            Segments(self._home).remove(name)
