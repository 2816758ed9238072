"""The server's connection to one reusable worker."""

import asyncio
import os
from contextlib import suppress
from pathlib import Path

from alula.executors.process.link import Stream
from alula.executors.process.reuse import output
from alula.executors.process.reuse.worker import PIPE, SOCKET, TAKEN
from alula.executors.process.tree import LINUX

_LINE = 1 << 24  # bytes


class Peer(Stream):
    """Orders go out, news come in. Use `open`."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, printed: tuple[int, int] | None
    ) -> None:
        super().__init__(reader, writer)
        self._printed = printed  # what was taken from its pipe, and the pipe

    @classmethod
    async def open(cls, folder: Path) -> "Peer":
        """Connect to the worker of this folder.

        Raises:
            OSError: there is none, or none that listens.
        """
        place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:  # by its descriptor: the path of a socket has 108 bytes
            short = Path(f"/proc/self/fd/{place}")
            path = short / SOCKET if LINUX else folder / SOCKET
            reader, writer = await asyncio.open_unix_connection(path, limit=_LINE)
        finally:
            os.close(place)
        with suppress(FileNotFoundError):  # one for several attempts at once has none
            taken = os.open(folder / TAKEN, os.O_RDONLY | os.O_CLOEXEC)
            pipe = os.open(folder / PIPE, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            return cls(reader, writer, (taken, pipe))
        return cls(reader, writer, None)

    def rest(self, size: int) -> bytes:
        """What a dead worker printed and did not live to write to the log of its attempt, which has ``size`` bytes."""
        return output.rest(*self._printed, size) if self._printed else b""

    def close(self) -> None:
        super().close()
        for descriptor in self._printed or ():
            os.close(descriptor)
        self._printed = None
