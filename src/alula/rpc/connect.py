"""Connect for unary calls: one message is the HTTP body, an error has an HTTP status.

Source: https://connectrpc.com/docs/protocol#unary-rpcs-request-response
"""

import base64
import binascii
from collections.abc import Mapping
from urllib.parse import parse_qsl

from google.protobuf.message import Message

from alula.rpc import compression, metadata, status
from alula.rpc.asgi import Headers
from alula.rpc.body import Body
from alula.rpc.codec import Garbage
from alula.rpc.errors import Code, RpcError
from alula.rpc.exchange import Request


class ConnectUnary:
    """A unary call by POST, or by GET when the method is safe."""

    protocol = "connect"

    def __init__(self, request: Request) -> None:
        self._request = request
        self._read = False
        self._payload: bytes | None = None

    def timeout(self) -> float | None:
        """As Exchange."""
        return metadata.connect_timeout(self._request.headers)

    async def receive(self) -> Message | None:
        """As Exchange."""
        if self._read:
            return None
        self._read = True
        request = self._request
        try:
            data, encoding = query_message(request.query) if request.query else await self._body()
            if compression.named(encoding) and data:
                data = compression.inflate(data, request.limit)
            elif len(data) > request.limit:
                raise compression.too_large(request.limit)
            return request.codec.decode(request.method.request, data)
        except Garbage as garbage:
            raise RpcError(Code.INVALID_ARGUMENT, str(garbage)) from garbage

    async def _body(self) -> tuple[bytes, str]:
        encoding = self._request.headers.get("content-encoding", "")
        compression.named(encoding)  # refuse before reading
        return await Body(self._request.receive).all(self._request.limit), encoding

    async def send(self, message: Message, headers: Mapping[str, str]) -> None:
        """Keep the response: whether it is one is clear at the end."""
        self._payload = self._request.codec.encode(message)

    async def finish(self, error: RpcError | None, headers: Mapping[str, str], trailers: Mapping[str, str]) -> None:
        """As Exchange. Raises ValueError for metadata that cannot be sent, before anything is."""
        head: Headers = []
        if headers or trailers:
            head = metadata.write_headers(headers) + metadata.write_headers(trailers, "trailer-")
        if error is None and self._payload is not None:
            code, body = 200, self._payload
            head.append((b"content-type", self._request.content_type.encode()))
            if len(body) >= compression.WORTHWHILE and self._gzip_accepted():
                body = compression.deflate(body)
                head.append((b"content-encoding", b"gzip"))
        else:
            error = error or RpcError(Code.INTERNAL, "no response")
            code, body = error.code.http, status.connect_unary(error)
            head.append((b"content-type", b"application/json"))
            if error.code is Code.UNIMPLEMENTED:
                head.append((b"accept-encoding", compression.SUPPORTED.encode()))
        if self._request.query:
            head.append((b"vary", b"accept-encoding"))
        head.append((b"content-length", b"%d" % len(body)))
        send = self._request.send
        await send({"type": "http.response.start", "status": code, "headers": head})
        await send({"type": "http.response.body", "body": body})

    def _gzip_accepted(self) -> bool:
        return compression.accepted(self._request.headers.get("accept-encoding", ""))


def query_message(query: str) -> tuple[bytes, str]:
    """The message of a GET, and the name of its compression. Raises INVALID_ARGUMENT."""
    parameters = dict(parse_qsl(query, keep_blank_values=True))
    if parameters.get("connect", "v1") != "v1":
        raise RpcError(Code.INVALID_ARGUMENT, "the query parameter connect must be v1")
    if "message" not in parameters:
        raise RpcError(Code.INVALID_ARGUMENT, "the query parameter message is missing")
    message = parameters["message"]
    if parameters.get("base64") != "1":
        return message.encode(), parameters.get("compression", "")
    try:
        padded = message.rstrip("=") + "=" * (-len(message.rstrip("=")) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True), parameters.get("compression", "")
    except (binascii.Error, ValueError) as error:
        raise RpcError(Code.INVALID_ARGUMENT, "the query parameter message is not base64url") from error
