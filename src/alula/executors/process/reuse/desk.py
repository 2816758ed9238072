"""A worker's desk: the thread that talks to the server, whatever the attempts' own code does meanwhile.

One server at a time; the newest counts. What ended is remembered until the server says to forget it, so that one that
comes after a crash finds the attempts as the last one left them. Standard library only.
"""

import asyncio
import json
import os
import threading
from collections.abc import Callable
from typing import Any

from alula.executors.process.reuse.output import Pipe
from alula.executors.process.tree import LINUX

Message = dict[str, Any]

_SOON = 0.05  # seconds; that an attempt began is told once it has lasted so long, or with its end
_LINE = 1 << 24  # bytes; orders hold whole command lines
_UNHEARD = 24 * 3600.0  # seconds that results which no server has heard of are kept for one


class Desk:
    """Runs a loop of its own. ``order`` is called there with what the server wants done; it must not wait."""

    def __init__(self, path: str, policy: Message, order: Callable[[Message], None], pipe: Pipe | None) -> None:
        self._path, self._policy, self._order, self._pipe = path, policy, order, pipe
        self._loop = asyncio.new_event_loop()
        self._held: dict[str, int] = {}  # and when they began; 0: not yet
        self._abouts: dict[str, Message] = {}  # what the server wants to hear of them again
        self._ended: dict[str, Message] = {}
        self._late: set[str] = set()  # what has not begun after a while, and is to say so when it does
        self._followed: set[str] = set()
        self._grown: set[str] = set()
        self._writer: asyncio.StreamWriter | None = None
        self._leaving: asyncio.TimerHandle | None = None
        self._open = threading.Event()

    def start(self) -> None:
        """Returns once servers can come."""
        threading.Thread(target=self._run, name="alula-desk", daemon=True).start()
        self._open.wait()

    def began(self, name: str, at: int) -> None:
        """From any thread, as the next two. It wakes nobody unless somebody waits for it."""
        self._held[name] = at
        if name in self._late:
            self._loop.call_soon_threadsafe(self._tell_began, name)

    def ended(self, name: str, record: Message) -> None:
        self._loop.call_soon_threadsafe(self._end, name, record)

    def grew(self, name: str) -> None:
        if name in self._followed and name not in self._grown:
            self._grown.add(name)
            self._loop.call_soon_threadsafe(self._grew, name)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        if self._pipe is not None:
            self._loop.add_reader(self._pipe.source, self._pipe.ready)
        self._loop.run_until_complete(self._listen())
        self._leave_alone()
        self._open.set()
        self._loop.run_forever()

    async def _listen(self) -> None:
        """By the folder's descriptor: the path of a socket has 108 bytes, and homes may have longer ones."""
        folder, name = os.path.split(self._path)
        place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            path = f"/proc/self/fd/{place}/{name}" if LINUX else self._path
            await asyncio.start_unix_server(self._serve, path, limit=_LINE)
        finally:
            os.close(place)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer = writer
        self._stay()
        self._followed.clear()
        self._tell({"hello": self._policy, "held": self._held, "ended": self._ended, "abouts": self._abouts})
        try:
            while line := await reader.readline():
                self._hear(json.loads(line))
        except (ConnectionError, ValueError):  # ValueError: a last line that was cut by its death
            pass
        finally:
            writer.close()
            if self._writer is writer:
                self._writer = None
                self._leave_alone()

    def _hear(self, message: Message) -> None:
        if "run" in message:
            name = message["run"]
            if name in self._held or name in self._ended:
                return
            self._held[name], self._abouts[name] = 0, message["about"]
            self._order(message)
            self._loop.call_later(_SOON, self._tell_began, name)
        elif "cancel" in message:
            self._order(message)
        elif "forget" in message:
            if self._ended.pop(message["forget"], None) is not None:
                del self._abouts[message["forget"]]
        elif "follow" in message:
            (self._followed.add if message["on"] else self._followed.discard)(message["follow"])
            self._grew(message["follow"])

    def _tell_began(self, name: str) -> None:
        if self._held.get(name) == 0:
            self._late.add(name)
        if self._held.get(name):  # it may have been said since the line above
            self._late.discard(name)
            self._tell({"started": name, "at": self._held[name]})

    def _end(self, name: str, record: Message) -> None:
        del self._held[name]
        self._late.discard(name)
        self._ended[name] = record
        self._tell({"ended": name, "record": record})
        self._leave_alone()

    def _grew(self, name: str) -> None:
        self._grown.discard(name)
        self._tell({"grew": name})

    def _tell(self, message: Message) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(json.dumps(message).encode() + b"\n")

    def _leave_alone(self) -> None:
        """Without a server and without work there is no reason to stay for ever."""
        self._stay()
        if self._writer is None and not self._held:
            patience = _UNHEARD if self._ended else self._policy["idle"] + self._policy["scaledown"]
            self._leaving = self._loop.call_later(patience, os._exit, 0)

    def _stay(self) -> None:
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None
