"""The launcher's door: one server at a time. What a dead one had asked for is heard before the next one counts."""

import os
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from alula.executors.process.channel import Channel, Message

SOCKET = "launcher.sock"  # in the home
PROTOCOL = 1  # of what servers, launchers and recorders say to each other; "hello" and its answer stay as they are


class Servers:
    """The server that the launcher works for, and those who wait to be the next.

    Args:
        listener: where they come; it was bound to ``path``, which is removed when the door is shut.
        heard: is called with every message of the server.
        left: is called when there is no server any more.
    """

    def __init__(
        self,
        listener: socket.socket,
        path: str,
        selector: selectors.BaseSelector,
        heard: Callable[[Message], None],
        left: Callable[[], None],
    ) -> None:
        listener.setblocking(False)
        self._listener, self._path = listener, path
        self._selector, self._heard, self._left = selector, heard, left
        self._current: Channel | None = None
        self._waiting: deque[Channel] = deque()
        self.absent_since: float | None = time.monotonic()  # None: there is a server
        self._came = 0.0
        selector.register(listener, selectors.EVENT_READ, self._accept)

    @property
    def pending(self) -> bool:
        return self._current is not None and self._current.pending

    def was_away(self, since: float) -> bool:
        """Whether there was a time without a server, after ``since`` on the monotonic clock."""
        return self._current is None or self._came > since

    def send(self, message: Message) -> None:
        """Tell the server. Without one it is nobody's business: the next one asks."""
        if self._current is not None:
            self._current.send(message)

    def flush(self) -> None:
        if self._current is not None:
            self._current.flush()

    def take_descriptor(self) -> int:
        """The descriptor that came with a message that carried one."""
        assert self._current is not None, "it has just been heard"
        return self._current.take_descriptor()

    def shut(self) -> None:
        """Let nobody in any more; the server that is there may stay. That the path is gone says that all went well."""
        if self._listener.fileno() < 0:
            return
        self._selector.unregister(self._listener)
        with suppress(OSError):
            os.unlink(self._path)
        self._listener.close()
        for one in self._waiting:
            one.socket.close()
        self._waiting.clear()

    def _accept(self) -> None:
        with suppress(OSError):  # it has given up meanwhile
            self._waiting.append(Channel(self._listener.accept()[0]))
            self._admit()

    def _admit(self) -> None:
        if self._current is None and self._waiting:
            self._current, self.absent_since, self._came = self._waiting.popleft(), None, time.monotonic()
            self._selector.register(self._current.socket, selectors.EVENT_READ, self._hear)

    def _hear(self) -> None:
        if (current := self._current) is None:  # it has left in this very round
            return
        for message in current.receive():
            self._heard(message)
        if current.ended:
            self._selector.unregister(current.socket)
            current.socket.close()
            self._current, self.absent_since = None, time.monotonic()
            self._admit()
            if self._current is None:
                self._left()
