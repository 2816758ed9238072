"""gRPC calls of apps: HTTP/2 all the way, and the trailers that end them."""

from collections.abc import AsyncIterator

import pyqwest

from alula.control.traffic import Backend
from alula.rpc.asgi import TRAILERS, Headers, Scope, Send

_WEB = b"application/grpc-web"  # which is said over HTTP/1.1, without trailers
_HOST, _KIND = b"host", b"content-type"
BROKEN = (pyqwest.RemoteProtocolError, pyqwest.ReadError, pyqwest.WriteError, pyqwest.StreamError)  # a connection


def speaks(scope: Scope) -> bool:
    """Whether a request is a gRPC call."""
    kind = next((value for name, value in scope["headers"] if name == _KIND), b"")
    return scope.get("http_version") == "2" and kind.startswith(b"application/grpc") and not kind.startswith(_WEB)


class GrpcCalls:
    """The way to replicas that speak HTTP/2 in clear text."""

    def __init__(self) -> None:
        self._http = pyqwest.HTTPTransport(
            http_version=pyqwest.HTTPVersion.HTTP2,
            enable_gzip=False,
            enable_brotli=False,
            enable_zstd=False,
            follow_redirects=False,
            enable_otel=False,
        )

    async def call(
        self, backend: Backend, target: bytes, headers: Headers, body: AsyncIterator[bytes]
    ) -> pyqwest.Response:
        """Begin a call. ``headers`` are without those of the hop.

        Raises:
            ConnectionError: the replica took nothing of it.
        """
        sent = pyqwest.Headers(
            [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers if name != _HOST]
            + [("te", "trailers")]
        )
        host = f"[{backend.host}]" if ":" in backend.host else backend.host
        url = f"http://{host}:{backend.port}{target.decode('latin-1')}"
        return await self._http.execute(pyqwest.Request("POST", url, sent, body))

    async def close(self) -> None:
        """Close the connections to replicas."""
        await self._http.aclose()


async def answer(response: pyqwest.Response, send: Send) -> None:
    """Hand an answer on as it comes. One that is nothing but its end has that in its head: it gets one of its own."""
    head = _raw(response.headers)
    only = [pair for pair in head if pair[0] != _KIND] if "grpc-status" in response.headers else []
    leading = [pair for pair in head if pair not in only]
    await send({"type": "http.response.start", "status": response.status, "headers": leading, "trailers": True})
    async with response:
        async for chunk in response.content:
            await send({"type": "http.response.body", "body": bytes(chunk), "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        await send({"type": TRAILERS, "headers": only + _raw(response.trailers)})


def _raw(headers: pyqwest.Headers) -> Headers:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
