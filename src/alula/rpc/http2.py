"""HTTP/2 in clear text (prior knowledge) as ASGI, on the sans-I/O `h2`.

Bytes of a request are acknowledged to the client only once the application took them, and a response waits while the
client's window or the socket is full: neither side can make the other keep more than a window.
"""

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import unquote

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.events import (
    Event as H2Event,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from uvicorn.config import Config
from uvicorn.server import ServerState

from alula.rpc.asgi import GONE, TRAILERS, Event, Headers, Scope

logger = logging.getLogger(__name__)

MAX_STREAMS = 2000  # open at once on one connection
MAX_HEADER_LIST = 64 * 1024  # bytes
STREAM_WINDOW = 256 * 1024  # bytes of a request that may wait for the application
CONNECTION_WINDOW = 16 * 1024 * 1024  # bytes, over all streams of a connection
RESET_BURST = 2000  # streams a client may reset at once (CVE-2023-44487) ...
RESET_RATE = 100.0  # ... and per second from then on

_CONFIG = H2Configuration(
    client_side=False, header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False
)
_SETTINGS = {
    SettingCodes.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
    SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEADER_LIST,
    SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
    SettingCodes.ENABLE_CONNECT_PROTOCOL: 0,
}
_HOP_BY_HOP = frozenset({b"connection", b"transfer-encoding", b"keep-alive", b"upgrade", b"proxy-connection"})


class Bucket:
    """A budget that refills: ``burst`` at once, ``rate`` per second."""

    def __init__(self, burst: int, rate: float) -> None:
        self._burst = burst
        self._rate = rate
        self._left = float(burst)
        self._at = 0.0

    def take(self, now: float) -> bool:
        """Take one. False when there is none."""
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        self._left -= 1
        return self._left >= 0


class Stream:
    """One request and its response."""

    def __init__(self, connection: "Http2", number: int, *, head: bool) -> None:
        self.number = number
        self.task: asyncio.Task[None] | None = None
        self.watchers: set[Callable[[], None]] = set()
        self.gone = False  # the client left, or the response is complete
        self.request_ended = False
        self.inbox = bytearray()
        self.unacknowledged = 0  # flow-controlled bytes of the inbox, padding included
        self.outbox = bytearray()
        self.response_ended = False  # the application said so; the outbox may still hold bytes
        self.trailers: Headers | None = None
        self.will_trail = False
        self._connection = connection
        self._head = head
        self._delivered = False  # the application has seen the end of the request
        self._started = False
        self._readable = asyncio.Event()
        self._writable = asyncio.Event()

    def feed(self, data: bytes, flow: int) -> None:
        """More of the request arrived."""
        self.inbox += data
        self.unacknowledged += flow
        self._readable.set()

    def wake(self) -> None:
        """Something changed for who waits to read or to write."""
        self._readable.set()
        self._writable.set()

    async def receive(self) -> Event:
        """ASGI receive."""
        while not self.gone:
            if self.inbox or (self.request_ended and not self._delivered):
                body = bytes(self.inbox)
                self.inbox.clear()
                self._delivered = self.request_ended
                self._connection.acknowledge(self)
                return {"type": "http.request", "body": body, "more_body": not self.request_ended}
            self._readable.clear()
            await self._readable.wait()
        return {"type": "http.disconnect"}

    async def send(self, event: Event) -> None:
        """ASGI send. Returns once the client's window and the socket had room for nearly everything."""
        if self.gone:
            return
        kind = event["type"]
        if kind == "http.response.start":
            self._started = True
            self.will_trail = event.get("trailers", False)
            self._connection.send_head(self, event["status"], event.get("headers", ()))
            return
        if kind == "http.response.body":
            if not self._head:
                self.outbox += event.get("body", b"")
            self.response_ended = not event.get("more_body", False) and not self.will_trail
        elif kind == TRAILERS:
            self.trailers = event["headers"]
            self.response_ended = True
        self._connection.pump(self)
        while self.outbox and not self.gone:
            self._writable.clear()
            await self._writable.wait()


class Http2(asyncio.Protocol):
    """One HTTP/2 connection."""

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any]) -> None:
        self._app = config.loaded_app
        self._state = server_state
        self._app_state = app_state
        self._h2 = H2Connection(_CONFIG)
        self._h2.local_settings = Settings(client=False, initial_values=_SETTINGS)
        self._h2.decoder.max_header_list_size = MAX_HEADER_LIST
        self._streams: dict[int, Stream] = {}
        self._blocked: dict[int, Stream] = {}  # streams with bytes to send and no room for them, the longest first
        self._resets = Bucket(RESET_BURST, RESET_RATE)
        self._room = True  # the socket takes more
        self._flushing = False
        self._stopping = False
        self.transport: asyncio.Transport

    # --- the connection ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say hello."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self._loop = asyncio.get_running_loop()
        self._client = _address(self.transport, "peername")
        self._server = _address(self.transport, "sockname")
        self._state.connections.add(self)  # type: ignore[arg-type]
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(CONNECTION_WINDOW - 65535)
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """End every stream."""
        self._state.connections.discard(self)
        for stream in list(self._streams.values()):
            self._leave(stream)

    def data_received(self, data: bytes) -> None:
        """Take frames in."""
        try:
            events = self._h2.receive_data(data)
        except ProtocolError as error:
            logger.info("HTTP/2 connection of %s closed: %s", self._client, error)
            self._close()
            return
        for event in events:
            if not self.transport.is_closing():
                self._take(event)
        self._flush()

    def pause_writing(self) -> None:
        """The socket is full. A client that does not read is not listened to: replies would pile up."""
        self._room = False
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """The socket takes more."""
        self._room = True
        self.transport.resume_reading()
        self._pump_blocked()

    def shutdown(self) -> None:
        """The server stops: take no new stream, close after the last."""
        self._stopping = True
        self._close_when_done()

    def _close_when_done(self) -> None:
        if self._stopping and not self._streams and not self.transport.is_closing():
            self._h2.close_connection()
            self._close()

    def _close(self) -> None:
        self._flush()
        self.transport.close()
        for stream in list(self._streams.values()):
            self._leave(stream)

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        data = self._h2.data_to_send()
        if data and not self.transport.is_closing():
            self.transport.write(data)

    # --- what arrives ---

    def _take(self, event: H2Event) -> None:
        if isinstance(event, RequestReceived):
            self._open(event)
        elif isinstance(event, DataReceived):
            stream = self._streams.get(event.stream_id)
            if stream is None or stream.gone:
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            else:
                stream.feed(event.data, event.flow_controlled_length)
        elif isinstance(event, StreamEnded):
            stream = self._streams.get(event.stream_id)
            if stream is not None:
                stream.request_ended = True
                stream.wake()
        elif isinstance(event, WindowUpdated | RemoteSettingsChanged):
            self._pump_blocked()
        elif isinstance(event, StreamReset):
            self._reset(event)
        elif isinstance(event, ConnectionTerminated):
            self._close()

    def _open(self, event: RequestReceived) -> None:
        if self._stopping or len(self._streams) >= MAX_STREAMS:
            with contextlib.suppress(ProtocolError):  # the client may have reset it already
                self._h2.reset_stream(event.stream_id, ErrorCodes.REFUSED_STREAM)
            return
        scope = self._scope(event.headers)
        stream = Stream(self, event.stream_id, head=scope["method"] == "HEAD")
        stream.request_ended = event.stream_ended is not None
        scope["extensions"] = {TRAILERS: {}, GONE: stream.watchers}
        self._streams[stream.number] = stream
        stream.task = self._loop.create_task(self._run(scope, stream))
        self._state.tasks.add(stream.task)
        stream.task.add_done_callback(self._state.tasks.discard)

    def _scope(self, fields: Headers) -> Scope:
        method = path = b""
        headers: Headers = []
        for name, value in fields:
            if name == b":path":
                path = value
            elif name == b":method":
                method = value
            elif name == b":authority":
                headers.append((b"host", value))
            elif not name.startswith(b":"):
                headers.append((name, value))
        raw, _, query = path.partition(b"?")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "2",
            "server": self._server,
            "client": self._client,
            "scheme": "http",
            "method": method.decode("latin-1"),
            "root_path": "",
            "path": unquote(raw.decode("latin-1")),
            "raw_path": raw,
            "query_string": query,
            "headers": headers,
            "state": self._app_state.copy(),
        }

    def _reset(self, event: StreamReset) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is not None:
            self._leave(stream)
        if event.remote_reset and not self._resets.take(time.monotonic()):
            logger.warning("HTTP/2 connection of %s closed: it resets too many streams", self._client)
            self._h2.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
            self._close()

    def _leave(self, stream: Stream) -> None:
        stream.gone = True
        stream.outbox.clear()
        self._blocked.pop(stream.number, None)
        stream.wake()
        for gone in list(stream.watchers):
            gone()

    # --- what the application sends ---

    async def _run(self, scope: Scope, stream: Stream) -> None:
        try:
            await self._app(scope, stream.receive, stream.send)
        except asyncio.CancelledError:
            raise
        except Exception:
            logger.exception("%s failed", scope["path"])
        finally:
            if not stream.response_ended:
                self._abandon(stream)
            if not stream.outbox or stream.gone:
                self._forget(stream)

    def _abandon(self, stream: Stream) -> None:
        """The application ended without ending its response."""
        if not stream.gone and not self.transport.is_closing():
            with contextlib.suppress(ProtocolError):
                self._h2.reset_stream(stream.number, ErrorCodes.INTERNAL_ERROR)
            self._flush_soon()
        stream.gone = True

    def _forget(self, stream: Stream) -> None:
        self._streams.pop(stream.number, None)
        self._blocked.pop(stream.number, None)
        self.acknowledge(stream)
        self._close_when_done()

    def acknowledge(self, stream: Stream) -> None:
        """Give the client back the window of what the application took."""
        if stream.unacknowledged and not self.transport.is_closing():
            self._h2.acknowledge_received_data(stream.unacknowledged, stream.number)
            stream.unacknowledged = 0
            self._flush_soon()

    def send_head(self, stream: Stream, status: int, headers: Headers) -> None:
        """Send the head of a response."""
        own = [(name.lower(), value) for name, value in headers if name.lower() not in _HOP_BY_HOP]
        fields = [(b":status", b"%d" % status), *self._state.default_headers, *own]
        try:
            self._h2.send_headers(stream.number, fields)
        except ProtocolError:
            self._leave(stream)
        self._flush_soon()

    def pump(self, stream: Stream) -> None:
        """Send as much of the outbox as the client's window and the socket take, and the end if it is due."""
        try:
            self._pump(stream)
        except ProtocolError:  # `h2` is ahead of us: the client's reset is among the events not taken yet
            self._leave(stream)

    def _pump(self, stream: Stream) -> None:
        h2, outbox, number = self._h2, stream.outbox, stream.number
        while outbox:
            size = min(len(outbox), h2.max_outbound_frame_size, h2.local_flow_control_window(number))
            if size <= 0 or not self._room:
                self._blocked.setdefault(number, stream)
                self._flush_soon()
                return
            last = size == len(outbox) and stream.response_ended and stream.trailers is None
            h2.send_data(number, bytes(outbox[:size]), end_stream=last)
            del outbox[:size]
            if outbox:
                self._flush()  # the socket may say now that it is full
            elif last:
                self._ended(stream)
                return
        if stream.trailers is not None:
            h2.send_headers(number, stream.trailers, end_stream=True)
            self._ended(stream)
        elif stream.response_ended:
            h2.end_stream(number)
            self._ended(stream)
        self._flush_soon()

    def _ended(self, stream: Stream) -> None:
        if not stream.request_ended:  # the client need not send the rest (RFC 9113, section 8.1)
            self._h2.reset_stream(stream.number, ErrorCodes.NO_ERROR)
        stream.gone = True
        stream.wake()
        self._flush_soon()
        if stream.task is not None and stream.task.done():
            self._forget(stream)

    def _pump_blocked(self) -> None:
        for stream in list(self._blocked.values()):
            if not self._room:
                return
            del self._blocked[stream.number]
            self.pump(stream)
            if not stream.outbox:
                stream.wake()


def _address(transport: asyncio.Transport, which: str) -> tuple[str, int] | None:
    peer: socket.socket | None = transport.get_extra_info("socket")
    address = transport.get_extra_info(which)
    if peer is None or peer.family == socket.AF_UNIX or not address:
        return None
    return str(address[0]), int(address[1])
