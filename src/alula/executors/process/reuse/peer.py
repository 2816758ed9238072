"""The server's connection to one reusable worker."""

import asyncio
import os
from contextlib import suppress
from pathlib import Path

from alula.executors.process.link import Stream
from alula.executors.process.reuse.worker import PIPE, SOCKET
from alula.executors.process.tree import LINUX

_LINE = 1 << 24  # bytes


class Peer(Stream):
    """Orders go out, news come in. Use `open`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pipe: int) -> None:
        super().__init__(reader, writer)
        self._pipe = pipe

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
        pipe = -1
        with suppress(FileNotFoundError):
            pipe = os.open(folder / PIPE, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        return cls(reader, writer, pipe)

    def rest(self) -> bytes:
        """What a dead worker printed and did not live to write to a log."""
        found = b""
        with suppress(OSError):  # BlockingIOError: something of it still lives
            while self._pipe >= 0 and (data := os.read(self._pipe, 1 << 16)):
                found += data
        return found

    def close(self) -> None:
        super().close()
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1
