"""JSON lines and file descriptors over a socket, for a program with one thread that must never wait for its peer."""

import array
import json
import os
import socket
from collections import deque
from typing import Any

Message = dict[str, Any]

_DESCRIPTORS = 32  # at most this many arrive with one read


class Channel:
    """One end of a stream socket. What cannot be sent at once is kept, in order, until `flush` is called again."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.socket = sock
        self._outgoing: deque[tuple[bytes, int | None]] = deque()
        self._incoming = bytearray()
        self._descriptors: deque[int] = deque()
        self.gone = False  # the peer has closed its end, or died: nothing can be said to it
        self.ended = False  # and all that it had said was heard

    @property
    def pending(self) -> bool:
        return bool(self._outgoing) and not self.gone

    def send(self, message: Message, descriptor: int | None = None) -> None:
        """Queue a message and try to send it; to a peer that is gone it is lost. The channel owns ``descriptor``, and
        closes it when it is sent.
        """
        if self.gone:
            if descriptor is not None:
                os.close(descriptor)
            return
        self._outgoing.append((json.dumps(message).encode() + b"\n", descriptor))
        self.flush()

    def flush(self) -> None:
        while self._outgoing and not self.gone:
            data, descriptor = self._outgoing[0]
            rights = (
                [] if descriptor is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
            )
            try:
                sent = self.socket.sendmsg([data], rights)
            except BlockingIOError:
                return
            except OSError:
                self.gone = True
                return
            if descriptor is not None:
                os.close(descriptor)
            if sent == len(data):
                self._outgoing.popleft()
            else:
                self._outgoing[0] = (data[sent:], None)

    def receive(self) -> list[Message]:
        """Every whole message that has arrived; `ended` is set at the end of the stream."""
        try:
            data, ancillary, _, _ = self.socket.recvmsg(1 << 18, socket.CMSG_SPACE(_DESCRIPTORS * 4))
        except BlockingIOError:
            return []
        except OSError:
            data, ancillary = b"", []
        for level, kind, content in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                self._descriptors.extend(array.array("i", content[: len(content) - len(content) % 4]))
        if not data:
            self.gone = self.ended = True
            return []
        self._incoming += data
        if b"\n" not in data:
            return []
        whole, _, rest = self._incoming.rpartition(b"\n")
        self._incoming = bytearray(rest)
        return [json.loads(line) for line in whole.split(b"\n")]

    def take_descriptor(self) -> int:
        """The descriptor that came with the oldest message that carried one."""
        return self._descriptors.popleft()
