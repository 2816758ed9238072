"""Calls whose messages are framed: Connect streams, gRPC and gRPC-Web. They differ in names and in how a call ends.

Sources: https://connectrpc.com/docs/protocol#streaming-rpcs, and PROTOCOL-HTTP2.md and PROTOCOL-WEB.md of gRPC.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from google.protobuf.message import Message

from alula.rpc import compression, metadata, status
from alula.rpc.asgi import TRAILERS, Headers
from alula.rpc.body import COMPRESSED, Body, envelope
from alula.rpc.codec import Garbage
from alula.rpc.errors import Code, RpcError
from alula.rpc.exchange import Request

_CONNECT_END = 0x02
_WEB_END = 0x80


@dataclass(frozen=True, slots=True)
class Dialect:
    """What is particular to one protocol with framed messages."""

    protocol: str
    timeout: Callable[[Mapping[str, str]], float | None]  # what the headers of a request say
    encoding: str  # the header that names the compression, of requests and responses
    accept: str  # the header that names the compressions one takes
    garbage: Code  # the answer to a message that cannot be read
    end: Callable[[RpcError | None, Mapping[str, str]], bytes] | None  # the last frame; None: real HTTP trailers


def _connect_end(error: RpcError | None, trailers: Mapping[str, str]) -> bytes:
    return envelope(_CONNECT_END, status.connect_end(error, trailers))


def _web_end(error: RpcError | None, trailers: Mapping[str, str]) -> bytes:
    lines = [name + b": " + value + b"\r\n" for name, value in status.grpc_trailers(error, trailers)]
    return envelope(_WEB_END, b"".join(lines))


CONNECT = Dialect(
    protocol="connect",
    timeout=metadata.connect_timeout,
    encoding="connect-content-encoding",
    accept="connect-accept-encoding",
    garbage=Code.INVALID_ARGUMENT,
    end=_connect_end,
)
GRPC = Dialect(
    protocol="grpc",
    timeout=metadata.grpc_timeout,
    encoding="grpc-encoding",
    accept="grpc-accept-encoding",
    garbage=Code.INTERNAL,
    end=None,
)
GRPC_WEB = Dialect(
    protocol="grpc-web",
    timeout=GRPC.timeout,
    encoding=GRPC.encoding,
    accept=GRPC.accept,
    garbage=GRPC.garbage,
    end=_web_end,
)


class Framed:
    """One call in one of the dialects."""

    def __init__(self, dialect: Dialect, request: Request) -> None:
        self.protocol = dialect.protocol
        self._dialect = dialect
        self._request = request
        self._body = Body(request.receive)
        self._gzip = compression.accepted(request.headers.get(dialect.accept, ""))
        self._started = False

    def timeout(self) -> float | None:
        """As Exchange."""
        return self._dialect.timeout(self._request.headers)

    async def receive(self) -> Message | None:
        """As Exchange."""
        request = self._request
        compressed_stream = compression.named(request.headers.get(self._dialect.encoding, ""))
        try:
            frame = await self._body.envelope(request.limit)
            if frame is None:
                return None
            flags, data = frame
            if flags & ~COMPRESSED:
                raise RpcError(self._dialect.garbage, f"a message has the unknown flags {flags:#04x}")
            if flags & COMPRESSED:
                if not compressed_stream:
                    raise RpcError(
                        Code.INTERNAL, f"a message is compressed, but {self._dialect.encoding} names nothing"
                    )
                data = compression.inflate(data, request.limit) if data else data
            return request.codec.decode(request.method.request, data)
        except Garbage as garbage:
            raise RpcError(self._dialect.garbage, str(garbage)) from garbage

    async def send(self, message: Message, headers: Mapping[str, str]) -> None:
        """As Exchange. Raises ValueError for metadata that cannot be sent, before anything is."""
        data, flags = self._request.codec.encode(message), 0
        if self._gzip and len(data) >= compression.WORTHWHILE:
            data, flags = compression.deflate(data), COMPRESSED
        await self._start(headers)
        await self._request.send(
            {"type": "http.response.body", "body": envelope(flags, data), "more_body": True},
        )

    async def finish(self, error: RpcError | None, headers: Mapping[str, str], trailers: Mapping[str, str]) -> None:
        """As Exchange. Raises ValueError for metadata that cannot be sent, before anything is."""
        send, end = self._request.send, self._dialect.end
        if end is not None:
            last = end(error, trailers)
            await self._start(headers)
            await send({"type": "http.response.body", "body": last})
            return
        fields = status.grpc_trailers(error, trailers)
        await self._start(headers)
        await send({"type": "http.response.body", "body": b""})
        await send({"type": TRAILERS, "headers": fields})

    async def _start(self, headers: Mapping[str, str]) -> None:
        if self._started:
            return
        dialect = self._dialect
        head: Headers = [
            *metadata.write_headers(headers),
            (b"content-type", self._request.content_type.encode()),
            (dialect.accept.encode(), compression.SUPPORTED.encode()),
        ]
        if self._gzip:
            head.append((dialect.encoding.encode(), b"gzip"))
        self._started = True
        await self._request.send(
            {"type": "http.response.start", "status": 200, "headers": head, "trailers": dialect.end is None},
        )
