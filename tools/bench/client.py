"""A client as lean as one can be, so that what is measured is the server: Connect unary over kept-alive HTTP/1.1."""

import asyncio
from typing import Any, Self

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass


class Lean:
    """One connection; one call at a time."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def call(self, method: MethodDescriptor, request: Message) -> Any:
        body = request.SerializeToString()
        path = f"/{method.containing_service.full_name}/{method.name}"
        self._writer.write(
            f"POST {path} HTTP/1.1\r\nhost: localhost:{self._port}\r\ncontent-type: application/proto\r\n"
            f"content-length: {len(body)}\r\n\r\n".encode()
            + body
        )
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        answer = await self._reader.readexactly(length)
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(answer.decode())
        return GetMessageClass(method.output_type).FromString(answer)


class Stream:
    """One connection with one answer after the other: Connect streaming over HTTP/1.1, decoded by whoever reads."""

    def __init__(self, port: int, method: MethodDescriptor, request: Message) -> None:
        self._port = port
        self._path = f"/{method.containing_service.full_name}/{method.name}"
        self._request = request.SerializeToString()

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        body = bytes(1) + len(self._request).to_bytes(4, "big") + self._request
        self._writer.write(
            f"POST {self._path} HTTP/1.1\r\nhost: localhost:{self._port}\r\n"
            f"content-type: application/connect+proto\r\ncontent-length: {len(body)}\r\n\r\n".encode()
            + body
        )
        head = await self._reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(head.decode())
        self._held = b""
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def next(self) -> bytes:
        """The next answer, serialised."""
        head = await self._exactly(5)
        body = await self._exactly(int.from_bytes(head[1:], "big"))
        if head[0] & 2:
            raise RuntimeError(f"the stream ended: {body.decode()}")
        return body

    async def _exactly(self, size: int) -> bytes:
        while len(self._held) < size:
            length = int((await self._reader.readuntil(b"\r\n")).strip(), 16)
            self._held += (await self._reader.readexactly(length + 2))[:-2]
        found, self._held = self._held[:size], self._held[size:]
        return found
