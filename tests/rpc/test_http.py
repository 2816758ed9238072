"""HTTP itself: raw HTTP/1.1, and an HTTP/2 peer that does what no polite client does."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, TypeVar

import h2.config
import h2.connection
import h2.events
import httpx
import pytest
import pytest_asyncio
from h2.errors import ErrorCodes

from alula.rpc import http2
from alula.rpc.http1 import MAX_HEAD

from .echo import Ask, Running, serving

T = TypeVar("T", bound=h2.events.Event)
JSON = b"POST /tests.v1.Echo/Say HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 2\r\n"


async def ask(server: Running, *parts: bytes) -> bytes:
    """Everything a server answers to raw bytes, to the end of the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    for part in parts:
        writer.write(part)
        await writer.drain()
    answer = await reader.read()
    writer.close()
    return answer


async def test_pipelined(server: Running) -> None:
    answer = await ask(server, JSON + b"\r\n{}" + JSON + b"connection: close\r\n\r\n{}")
    assert answer.count(b"HTTP/1.1 200 OK") == 2


@pytest.mark.parametrize("upgrade", [b"h2c", b"websocket"])
async def test_upgrade_is_ignored(server: Running, upgrade: bytes) -> None:
    wish = (
        b"connection: Upgrade, HTTP2-Settings\r\nupgrade: " + upgrade + b"\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n"
    )
    first, second = (JSON + wish)[:50], (JSON + wish)[50:]
    answer = await ask(server, first, second + b"{", b"}" + JSON + b"connection: close\r\n\r\n{}")
    assert answer.count(b"HTTP/1.1 200 OK") == answer.count(b"HTTP/1.1 ") == 2


@pytest.mark.parametrize(
    "bytes_",
    [
        b"nonsense\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        b"CONNECT example.org:443 HTTP/1.1\r\nhost: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\nx-long: " + b"x" * (MAX_HEAD + 1),
        b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * (MAX_HEAD // 6 + 9),
    ],
    ids=["nonsense", "half a preface", "connect", "two lengths", "long header", "many headers"],
)
async def test_bad_requests_are_refused(server: Running, bytes_: bytes) -> None:
    assert (await ask(server, bytes_)).startswith(b"HTTP/1.1 400")


def fields_of(event: Any) -> dict[str, str]:
    """The headers or trailers of an event."""
    return dict(event.headers)


class Peer:
    """An HTTP/2 client that sends what it is told, and gives back no window by itself."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.h2.initiate_connection()
        self._events: list[h2.events.Event] = []

    async def flush(self) -> None:
        """Send what there is to send."""
        self._writer.write(self.h2.data_to_send())
        await self._writer.drain()

    async def open(self, method: str, body: bytes | None = b"", *extra: tuple[str, str], end: bool = True) -> int:
        """Start a call."""
        number: int = self.h2.get_next_available_stream_id()
        fields = [
            (":method", "POST"),
            (":path", f"/tests.v1.Echo/{method}"),
            (":scheme", "http"),
            (":authority", "x"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            *extra,
        ]
        self.h2.send_headers(number, fields, end_stream=False)
        if body is not None:
            self.h2.send_data(number, b"\0" + len(body).to_bytes(4, "big") + body, end_stream=end)
        await self.flush()
        return number

    async def next(self, kind: type[T], number: int | None = None) -> T:
        """The next event of a kind, on a stream. Others before it are dropped."""
        async with asyncio.timeout(5):
            while True:
                while self._events:
                    event = self._events.pop(0)
                    if isinstance(event, kind) and number in (None, getattr(event, "stream_id", None)):
                        return event
                data = await self._reader.read(1 << 16)
                if not data:
                    raise ConnectionError("closed")
                self._events += self.h2.receive_data(data)
                await self.flush()

    async def status(self, number: int) -> str:
        """The grpc-status of a call."""
        return fields_of(await self.next(h2.events.TrailersReceived, number))["grpc-status"]

    async def close(self) -> None:
        """Hang up."""
        self._writer.close()


@pytest_asyncio.fixture
async def peer(server: Running) -> AsyncIterator[Peer]:
    """A connection to the server."""
    one = Peer(*await asyncio.open_connection("127.0.0.1", server.port))
    await one.flush()
    yield one
    await one.close()


async def test_settings_and_ping(peer: Peer) -> None:
    await peer.next(h2.events.RemoteSettingsChanged)
    assert peer.h2.remote_settings.max_concurrent_streams == http2.MAX_STREAMS
    assert peer.h2.remote_settings.max_header_list_size == http2.MAX_HEADER_LIST
    peer.h2.ping(b"12345678")
    await peer.flush()
    assert (await peer.next(h2.events.PingAckReceived)).ping_data == b"12345678"


async def test_a_closed_window_stops_the_handler(peer: Peer, server: Running) -> None:
    number = await peer.open("Count", Ask(count=100, size=10_000).SerializeToString())
    received = 0
    while received < 65_535:
        event = await peer.next(h2.events.DataReceived, number)
        received += event.flow_controlled_length
    assert received == 65_535
    sent = server.sent
    assert sent == 7
    peer.h2.increment_flow_control_window(20_000)
    peer.h2.increment_flow_control_window(20_000, number)
    await peer.flush()
    while received < 85_535:
        received += (await peer.next(h2.events.DataReceived, number)).flow_controlled_length
    assert server.sent == sent + 2
    peer.h2.reset_stream(number)
    await peer.flush()
    await server.open_calls(0)


async def test_an_unread_request_keeps_its_window_closed(peer: Peer, server: Running) -> None:
    await peer.next(h2.events.RemoteSettingsChanged)
    number = await peer.open("Chat", Ask(text="wait").SerializeToString(), end=False)
    await peer.next(h2.events.DataReceived, number)  # it has read the one request and reads no more
    while window := peer.h2.local_flow_control_window(number):
        peer.h2.send_data(number, bytes(min(window, 16_384)))
        await peer.flush()
    say = await peer.open("Say")
    assert await peer.status(say) == "0"  # others are not held up
    assert peer.h2.local_flow_control_window(number) == 0
    peer.h2.reset_stream(number)
    await peer.flush()
    await server.open_calls(0)
    assert await peer.status(await peer.open("Say")) == "0"


async def test_a_window_opens_as_the_handler_reads(peer: Peer) -> None:
    await peer.next(h2.events.RemoteSettingsChanged)
    number = await peer.open("Sum", b"", end=False)
    message = Ask(text="x" * 10_000, count=1).SerializeToString()
    total = 4 * http2.STREAM_WINDOW // len(message)
    for _ in range(total):
        frame = b"\0" + len(message).to_bytes(4, "big") + message
        while peer.h2.local_flow_control_window(number) < len(frame):
            await peer.next(h2.events.WindowUpdated)
        peer.h2.send_data(number, frame)
        await peer.flush()
    peer.h2.end_stream(number)
    await peer.flush()
    assert await peer.status(number) == "0"


async def test_a_window_and_a_reset_at_once(peer: Peer, server: Running) -> None:
    """`h2` knows of the reset before we have taken the event of the window."""
    number = await peer.open("Count", Ask(count=100, size=10_000).SerializeToString())
    received = 0
    while received < 65_535:
        received += (await peer.next(h2.events.DataReceived, number)).flow_controlled_length
    peer.h2.increment_flow_control_window(100_000)
    peer.h2.increment_flow_control_window(100_000, number)
    peer.h2.reset_stream(number)
    await peer.flush()
    await server.open_calls(0)
    assert await peer.status(await peer.open("Say")) == "0"


async def test_too_many_streams_are_refused_one_by_one(
    peer: Peer, server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http2, "MAX_STREAMS", 1)
    first = await peer.open("Wait")
    await server.open_calls(1)
    second = await peer.open("Wait")
    assert (await peer.next(h2.events.StreamReset, second)).error_code is ErrorCodes.REFUSED_STREAM
    third = peer.h2.get_next_available_stream_id()
    fields = [(":method", "POST"), (":path", "/tests.v1.Echo/Wait"), (":scheme", "http"), (":authority", "x")]
    peer.h2.send_headers(third, fields)
    peer.h2.reset_stream(third)  # opened and reset in one write
    peer.h2.reset_stream(first)
    await peer.flush()
    await server.open_calls(0)
    assert await peer.status(await peer.open("Say")) == "0"


async def test_rapid_reset(
    peer: Peer, server: Running, http: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    """CVE-2023-44487."""
    with contextlib.suppress(ConnectionError):  # the connection may be closed while we still send
        for _ in range(2 * http2.RESET_BURST):
            number = await peer.open("Wait")
            peer.h2.reset_stream(number, ErrorCodes.CANCEL)
            await peer.flush()
        await peer.next(h2.events.ConnectionTerminated)
    assert "resets too many streams" in caplog.text
    await server.open_calls(0)
    assert (await http.post("/tests.v1.Echo/Say", json={})).status_code == 200


async def test_a_header_list_too_long(peer: Peer, http: httpx.AsyncClient) -> None:
    await peer.open("Say", b"", *((f"x-{n}", "y" * 1000) for n in range(70)))
    event = await peer.next(h2.events.ConnectionTerminated)
    assert event.error_code is ErrorCodes.ENHANCE_YOUR_CALM
    assert (await http.post("/tests.v1.Echo/Say", json={})).status_code == 200


async def test_an_answer_before_the_end_of_the_request() -> None:
    async with serving(max_message=1000) as server:
        peer = Peer(*await asyncio.open_connection("127.0.0.1", server.port))
        number = await peer.open("Sum", bytes(2000), end=False)
        assert await peer.status(number) == "8"
        assert (await peer.next(h2.events.StreamReset, number)).error_code is ErrorCodes.NO_ERROR
        assert await peer.status(await peer.open("Say")) == "0"
        await peer.close()


async def test_metadata_that_no_header_can_hold(peer: Peer, caplog: pytest.LogCaptureFixture) -> None:
    number = await peer.open("Fail", Ask(text="header").SerializeToString())
    assert await peer.status(number) == "13"
    assert "not a header" in caplog.text


async def test_a_stop_closes_idle_connections() -> None:
    async with serving() as server:
        peer = Peer(*await asyncio.open_connection("127.0.0.1", server.port))
        assert await peer.status(await peer.open("Say")) == "0"
        server.stop.set()
        assert (await peer.next(h2.events.ConnectionTerminated)).error_code is ErrorCodes.NO_ERROR
        await peer.close()


async def test_fallback_over_http2() -> None:
    async def fallback(_scope: Any, _receive: Any, send: Any) -> None:
        headers = [(b"Content-Type", b"text/plain"), (b"Connection", b"close")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"hi"})

    async with serving(fallback=fallback) as server:
        peer = Peer(*await asyncio.open_connection("127.0.0.1", server.port))
        for verb, body in (("GET", b"hi"), ("HEAD", b"")):
            number = peer.h2.get_next_available_stream_id()
            fields = [(":method", verb), (":path", "/x"), (":scheme", "http"), (":authority", "x")]
            peer.h2.send_headers(number, fields, end_stream=True)
            await peer.flush()
            headers = fields_of(await peer.next(h2.events.ResponseReceived, number))
            assert headers["content-type"] == "text/plain"
            assert "connection" not in headers
            assert (await peer.next(h2.events.DataReceived, number)).data == body
        await peer.close()
