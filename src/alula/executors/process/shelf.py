"""The logs of attempts, whichever replica ran them: they are files in a home that replicas may share, or archived."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from alula.core.errors import NotFound, Unavailable
from alula.core.launch import LogLine
from alula.executors.base import Archive
from alula.executors.process import follow as _follow
from alula.executors.process import records
from alula.executors.process.follow import LogFile
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
        home = await asyncio.to_thread(self._find, name)
        file = LogFile(Segments(home or records.Home(self._home / self._part)), name)
        while not file.ended:  # segments go from here to the archive while they are read
            before = file.number, file.position
            if home is not None:
                with suppress(_follow.Removed):
                    async for batch in self._follow(home.attempt(name), file) if follow else _follow.read(file):
                        yield batch
                    if (file.number or file.position) and not await self._goes_on(name, file.number):
                        return
            async for batch in self._archived(name, file):
                yield batch
            if before == (file.number, file.position):
                break
        self._check(name, file)

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

    async def _goes_on(self, name: str, number: int) -> bool:
        """Whether there is more in the archive: of what is here, a later segment may have been removed first."""
        return self._archive is not None and await self._archive.get(name, number + 1) is not None

    def _find(self, name: str) -> records.Home | None:
        homes = (home for home in self._homes() if Segments(home).find(name, 0) or home.attempt(name).exists())
        return next(homes, None)

    def _homes(self) -> Iterator[records.Home]:
        yield records.Home(self._home / self._part)
        for replica in sorted((self._home / "replicas").glob("*")):
            yield records.Home(replica / self._part)

    async def _follow(self, attempt: Path, file: LogFile) -> AsyncIterator[list[LogLine]]:
        while True:
            last = await asyncio.to_thread(over, attempt)
            while lines := await asyncio.to_thread(file.read):
                yield lines
            if last:
                return
            await asyncio.sleep(_LOOK)

    async def _archived(self, name: str, file: LogFile) -> AsyncIterator[list[LogLine]]:
        """What the archive has of the log, from the place where ``file`` is."""
        while self._archive is not None and not file.ended:
            if (found := await self._archive.get(name, file.number)) is None:
                return
            data, file.ended = found
            while block := data[file.position : data.rfind(b"\n", file.position, file.position + _BLOCK) + 1]:
                file.position += len(block)
                yield await asyncio.to_thread(_follow.lines, block)
            if not file.ended:
                file.number, file.position = file.number + 1, 0

    def _check(self, name: str, file: LogFile) -> None:
        """Say it when there may be more elsewhere."""
        if file.ended or not self._shared:
            return
        where = "Ask the replica that ran it, or wait until it has archived it; replicas may share a home (server.home)"
        if file.number or file.position:
            raise Unavailable(f"there is no more of the log of {name} here. {where}")
        raise NotFound(f"there is no log of {name} here. {where}")
