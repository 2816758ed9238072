"""The server's connection to one reusable worker."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

from alula.executors.process.reuse.desk import Message
from alula.executors.process.reuse.worker import PIPE, SOCKET
from alula.executors.process.tree import LINUX

_LINE = 1 << 24  # bytes


class Peer:
    """Orders go out, news come in. Use `open`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pipe: int) -> None:
        self._reader, self._writer, self._pipe = reader, writer, pipe

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

    def send(self, message: Message) -> None:
        """Queue a message. To a dead worker it is lost: its death is seen by who reads."""
        if not self._writer.is_closing():
            self._writer.write(json.dumps(message).encode() + b"\n")

    async def messages(self) -> AsyncIterator[Message]:
        """What the worker says, until it is gone."""
        try:
            while line := await self._reader.readline():
                yield json.loads(line)
        except (ConnectionError, ValueError):  # ValueError: a last line that was cut by its death
            return

    def rest(self) -> bytes:
        """What a dead worker printed and did not live to write to a log."""
        found = b""
        with suppress(OSError):  # BlockingIOError: something of it still lives
            while self._pipe >= 0 and (data := os.read(self._pipe, 1 << 16)):
                found += data
        return found

    def close(self) -> None:
        self._writer.close()
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1
