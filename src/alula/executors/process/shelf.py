"""The logs of attempts, whichever replica ran them: they are files in a home that replicas may share, or archived."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Protocol

from alula.core.errors import NotFound, Unavailable
from alula.core.launch import LogLine
from alula.executors.base import Archive
from alula.executors.process import follow as _follow
from alula.executors.process import records
from alula.executors.process.measurements import Measurements
from alula.executors.process.segments import Segments, over

_LOOK = 0.1  # seconds between two looks at a log that another process writes: nobody here is told
_BLOCK = 1 << 18  # bytes of an archived segment that are decoded at a time


class Keeper(Protocol):
    """Who runs attempts in this process."""

    async def names(self) -> list[str]: ...

    def logs(self, name: str, *, follow: bool) -> AsyncIterator[list[LogLine]]: ...


class Shelf:
    """Finds logs below a home: in the folder ``part``, or in that of one of its replicas; else in the archive.

    Args:
        own: what this process itself runs, if it does.
        shared: there may be replicas with other homes; what is not here, nor archived yet, is theirs.
    """

    def __init__(
        self,
        home: Path,
        part: str,
        own: Keeper | None = None,
        *,
        shared: bool = False,
        archive: Archive | None = None,
    ) -> None:
        self._home = home
        self._part = part
        self._own = own
        self._shared = shared
        self._archive = archive

    async def logs(self, name: str, *, follow: bool) -> AsyncIterator[list[LogLine]]:
        """See `Executor.logs`.

        Raises:
            NotFound: another replica, of another home, has it.
            Unavailable: another replica, of another home, has the rest of it.
        """
        if "/" in name or name.startswith("."):
            raise NotFound(f"{name!r} is not the name of an attempt")
        if self._own is not None and name in await self._own.names():
            async for batch in self._own.logs(name, follow=follow):
                yield batch
            return
        number = position = 0
        if (found := await asyncio.to_thread(self._find, name)) is not None:
            file = _follow.LogFile(Segments(found), name)
            lines = self._follow(found.attempt(name), file) if follow else _follow.read(file)
            try:
                async for batch in lines:
                    yield batch
            except _follow.Removed:
                number, position = file.number, file.position
            else:
                if file.position:
                    return
        async for batch in self._archived(name, number, position):
            yield batch

    async def forget_log(self, name: str) -> bool:
        """See `Executor.forget_log`."""
        if "/" in name or name.startswith("."):
            return False
        found = await asyncio.to_thread(self._find, name)
        if found is not None and found.attempt(name).exists():
            return False
        await Measurements(self._home, self._part).forget(name)
        there = found is not None and await asyncio.to_thread(Segments(found).remove, name)
        archived = self._archive is not None and await self._archive.forget(name)
        return there or archived

    def _find(self, name: str) -> records.Home | None:
        homes = (home for home in self._homes() if Segments(home).find(name, 0) or home.attempt(name).exists())
        return next(homes, None)

    def _homes(self) -> Iterator[records.Home]:
        yield records.Home(self._home / self._part)
        for replica in sorted((self._home / "replicas").glob("*")):
            yield records.Home(replica / self._part)

    async def _follow(self, attempt: Path, file: _follow.LogFile) -> AsyncIterator[list[LogLine]]:
        while True:
            last = await asyncio.to_thread(over, attempt)
            while lines := await asyncio.to_thread(file.read):
                yield lines
            if last:
                return
            await asyncio.sleep(_LOOK)

    async def _archived(self, name: str, number: int, position: int) -> AsyncIterator[list[LogLine]]:
        """The archived log, from a place in it."""
        last = False
        while self._archive is not None and not last and (found := await self._archive.get(name, number)) is not None:
            data, last = found
            while block := data[position : data.rfind(b"\n", position, position + _BLOCK) + 1]:
                yield await asyncio.to_thread(_follow.lines, block)
                position += len(block)
            number, position = number + 1, 0
        if last or not self._shared:
            return
        where = "Ask the replica that ran it, or wait until it has archived it; replicas may share a home (server.home)"
        if number or position:
            raise Unavailable(f"there is no more of the log of {name} here. {where}")
        raise NotFound(f"there is no log of {name} here. {where}")
