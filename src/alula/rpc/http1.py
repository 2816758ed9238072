"""HTTP/1.1: uvicorn's httptools protocol, with what a server open to the world needs besides."""

from collections.abc import Callable
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from alula.rpc.asgi import GONE

MAX_HEAD = 64 * 1024  # bytes of a request line and its headers
_UPGRADE = frozenset({b"upgrade", b"connection", b"http2-settings"})


class Http1(HttpToolsProtocol):
    """One HTTP/1.1 connection.

    It calls who registered in the scope's GONE extension when the client leaves, refuses an endless head, and ignores
    every `Upgrade` but that to a WebSocket (RFC 9113 has dropped `h2c`): the request is answered in HTTP/1.1.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._watchers: set[Callable[[], None]] = set()
        self._head = 0  # bytes of the head that is being read
        self._in_head = True
        self._upgrading = False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the requests that are being answered."""
        super().connection_lost(exc)
        for gone in list(self._watchers):
            gone()

    def data_received(self, data: bytes) -> None:
        """Feed the parser."""
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._should_upgrade():
                self.handle_websocket_upgrade()
            else:
                self._stay(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            if not self.transport.is_closing():
                self.send_400_response("Invalid HTTP request received.")
        if self._in_head:
            self._head += len(data)
            if self._head > MAX_HEAD and not self.transport.is_closing():
                self.send_400_response("The head of the request is too large.")

    def on_message_begin(self) -> None:
        """A request starts."""
        super().on_message_begin()
        self._in_head = True
        self._head = 0
        self.scope["extensions"] = {GONE: self._watchers}  # type: ignore[dict-item]

    def on_headers_complete(self) -> None:
        """The head of the request has been read."""
        self._in_head = False
        self._upgrading = self.parser.should_upgrade()
        if not self._upgrading or self._should_upgrade():
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of the body has been read."""
        if not self._upgrading:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request has been read."""
        if not self._upgrading:
            super().on_message_complete()

    def _should_upgrade(self) -> bool:
        """Only what opens a WebSocket (RFC 6455, 4.1), and not what merely names one."""
        opens = self.parser.get_method() == b"GET" and any(name == b"sec-websocket-key" for name, _ in self.headers)
        return opens and super()._should_upgrade()

    def _stay(self, rest: bytes) -> None:
        """Read the request again without its wish to upgrade, which the parser takes for the end of HTTP."""
        method = self.parser.get_method()
        if method == b"CONNECT":
            self.send_400_response("CONNECT is not served.")
            return
        head = [b"%b %b HTTP/1.1\r\n" % (method, self.url)]
        head += [b"%b: %b\r\n" % field for field in self.headers if field[0] not in _UPGRADE]
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(b"".join([*head, b"\r\n", rest]))
