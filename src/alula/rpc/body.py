"""Reading what a client sends, never more than was allowed."""

from alula.rpc.asgi import Disconnected, Receive
from alula.rpc.codec import Garbage
from alula.rpc.compression import too_large

PREFIX = 5  # bytes before each message of a stream: one of flags, four of length
COMPRESSED = 0x01


class Body:
    """The bytes of one request, in order. Nothing is read from the client before it is asked for."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._buffer = bytearray()
        self._ended = False

    async def all(self, limit: int) -> bytes:
        """Everything. Raises RESOURCE_EXHAUSTED as soon as it is over ``limit`` bytes."""
        while await self._more():
            if len(self._buffer) > limit:
                raise too_large(limit)
        if len(self._buffer) > limit:
            raise too_large(limit)
        return bytes(self._buffer)

    async def envelope(self, limit: int) -> tuple[int, bytes] | None:
        """The flags and content of the next message of a stream, None at its end.

        Raises RESOURCE_EXHAUSTED for one announced as larger than ``limit`` and Garbage for one cut short.
        """
        if not await self._have(PREFIX):
            return None
        flags = self._buffer[0]
        size = int.from_bytes(self._buffer[1:PREFIX], "big")
        if size > limit:
            raise too_large(limit)
        if not await self._have(PREFIX + size):
            raise Garbage("the body ends inside a message")
        content = bytes(memoryview(self._buffer)[PREFIX : PREFIX + size])
        del self._buffer[: PREFIX + size]
        return flags, content

    async def _have(self, size: int) -> bool:
        while len(self._buffer) < size:
            if not await self._more():
                if self._buffer:
                    raise Garbage("the body ends inside a message")
                return False
        return True

    async def _more(self) -> bool:
        if self._ended:
            return False
        event = await self._receive()
        if event["type"] != "http.request":
            raise Disconnected
        self._buffer += event.get("body", b"")
        self._ended = not event.get("more_body", False)
        return True


def envelope(flags: int, content: bytes) -> bytes:
    """One message of a stream."""
    return b"%c%b%b" % (flags, len(content).to_bytes(4, "big"), content)
