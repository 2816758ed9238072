"""What a protocol does with one call, once it is clear which protocol it is."""

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from google.protobuf.message import Message

from alula.rpc.asgi import Receive, Send
from alula.rpc.codec import Codec
from alula.rpc.errors import RpcError
from alula.rpc.service import Method


class Request(NamedTuple):
    """One HTTP request that is a call: how it is written, and where its bytes come from and go to."""

    method: Method
    codec: Codec
    content_type: str
    headers: Mapping[str, str]
    receive: Receive
    send: Send
    limit: int  # bytes of one message, after decompression
    query: str = ""  # of a Connect GET


class Exchange(Protocol):
    """One call on the wire. ``finish`` is called once, and last."""

    @property
    def protocol(self) -> str:
        """``connect``, ``grpc`` or ``grpc-web``."""

    def timeout(self) -> float | None:
        """Seconds the client gives, from now. Raises RpcError for a head that breaks the protocol."""

    async def receive(self) -> Message | None:
        """The next request, None after the last. Raises RpcError and Disconnected."""

    async def send(self, message: Message, headers: Mapping[str, str]) -> None:
        """Write a response; the first one takes the leading metadata along. Waits while the client is slow."""

    async def finish(self, error: RpcError | None, headers: Mapping[str, str], trailers: Mapping[str, str]) -> None:
        """End the call."""


Opener = Callable[[Request], Exchange]
