"""One port for both versions of HTTP: the first bytes of a connection decide."""

import asyncio
import socket
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.server import ServerState

from alula.rpc.http1 import Http1
from alula.rpc.http2 import Http2

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

# A silent stream finds out within two minutes that its client's machine is dead, and no answer waits for the
# acknowledgement of one before (asyncio sees to that only for sockets that name their protocol).
_OPTIONS = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), seconds)
        for name, seconds in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))
        if hasattr(socket, name)
    ),
]


class OnePort(asyncio.Protocol):
    """A connection whose protocol is not known yet. For uvicorn's ``http=``."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._config = config
        self._state = server_state
        self._app_state = app_state
        self.transport: asyncio.Transport | None = None
        self._seen = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first bytes."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self._state.connections.add(self)  # type: ignore[arg-type]
        peer = transport.get_extra_info("socket")
        if peer is not None and peer.family != socket.AF_UNIX:
            for level, option, value in _OPTIONS:
                peer.setsockopt(level, option, value)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client left before it said anything."""
        self._state.connections.discard(self)

    def shutdown(self) -> None:
        """The server stops."""
        if self.transport is not None:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Hand the connection over as soon as it is clear to whom."""
        self._seen += data
        if len(self._seen) < len(PREFACE) and PREFACE.startswith(self._seen):
            return
        assert self.transport is not None
        self._state.connections.discard(self)
        protocol: Http1 | Http2
        if self._seen.startswith(PREFACE):
            protocol = Http2(self._config, self._state, self._app_state)
        else:
            protocol = Http1(self._config, self._state, self._app_state)
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        protocol.data_received(self._seen)
