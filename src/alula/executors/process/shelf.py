"""The logs of attempts, whichever replica ran them: they are files in a home that replicas may share."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Protocol

from alula.core.errors import NotFound
from alula.core.launch import LogLine
from alula.executors.process import follow as _follow
from alula.executors.process import records

_LOOK = 0.3  # seconds between two looks at a log that another process writes: nobody here is told


class Keeper(Protocol):
    """Who runs attempts in this process."""

    async def names(self) -> list[str]: ...

    def logs(self, name: str, *, follow: bool) -> AsyncIterator[list[LogLine]]: ...


class Shelf:
    """Finds logs below a home: in the folder ``part``, or in that of one of its replicas.

    Args:
        own: what this process itself runs, if it does.
        shared: there may be replicas with other homes; what is not here is theirs.
    """

    def __init__(self, home: Path, part: str, own: Keeper | None = None, *, shared: bool = False) -> None:
        self._home = home
        self._part = part
        self._own = own
        self._shared = shared

    async def logs(self, name: str, *, follow: bool) -> AsyncIterator[list[LogLine]]:
        """See `Executor.logs`.

        Raises:
            NotFound: another replica, of another home, has it.
        """
        if self._own is not None and name in await self._own.names():
            lines = self._own.logs(name, follow=follow)
        elif (found := await asyncio.to_thread(self._find, name)) is not None:
            lines = self._follow(found, name) if follow else _follow.read(found.log(name))
        elif self._shared:
            raise NotFound(
                f"there is no log of {name} here: the replica that ran it keeps it in its home. Ask that replica, or "
                "let replicas share a home (server.home)"
            )
        else:
            return
        async for batch in lines:
            yield batch

    async def forget_log(self, name: str) -> bool:
        """See `Executor.forget_log`."""
        found = await asyncio.to_thread(self._find, name)
        if found is None or found.attempt(name).exists():
            return False
        return await asyncio.to_thread(records.remove_log, found.log(name))

    def _find(self, name: str) -> records.Home | None:
        if "/" in name or name.startswith("."):
            return None
        homes = (home for home in self._homes() if home.log(name).exists() or home.attempt(name).exists())
        return next(homes, None)

    def _homes(self) -> Iterator[records.Home]:
        yield records.Home(self._home / self._part)
        for replica in sorted((self._home / "replicas").glob("*")):
            yield records.Home(replica / self._part)

    async def _follow(self, home: records.Home, name: str) -> AsyncIterator[list[LogLine]]:
        file = _follow.LogFile(home.log(name))
        while True:
            over = await asyncio.to_thread(_over, home.attempt(name))
            while lines := await asyncio.to_thread(file.read):
                yield lines
            if over:
                return
            await asyncio.sleep(_LOOK)


def _over(folder: Path) -> bool:
    return (folder / records.END).exists() or not (folder / records.MARKER).exists()
