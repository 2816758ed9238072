"""WebSockets to apps: two pumps, one for each direction."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.typing import Subprotocol

from alula.control.traffic import Backend
from alula.rpc.asgi import Headers, Receive, Scope, Send

_GOING_AWAY, _BAD_GATEWAY = 1001, 1014  # close codes
_OPENING = 10.0  # seconds for the app's side of the handshake
# What the handshake with the app says anew.
_HANDSHAKE = (b"host", b"sec-websocket-", b"content-length")


async def relay(target: bytes, headers: Headers, backend: Backend, scope: Scope, receive: Receive, send: Send) -> None:
    """Connect a client with an app until one of them ends; the other is told with the same code."""
    await receive()  # websocket.connect
    try:
        async with _opened(target, headers, backend, scope) as upstream:
            await send({"type": "websocket.accept", "subprotocol": upstream.subprotocol})
            await _pump(upstream, receive, send)
    except (OSError, WebSocketException, TimeoutError):
        await send({"type": "websocket.close", "code": _BAD_GATEWAY})


@asynccontextmanager
async def _opened(target: bytes, headers: Headers, backend: Backend, scope: Scope) -> AsyncIterator[ClientConnection]:
    host = next((value for name, value in scope["headers"] if name == b"host"), b"localhost").decode("latin-1")
    offered = [Subprotocol(one) for one in scope.get("subprotocols", [])]
    kept = [
        (name.decode("latin-1"), value.decode("latin-1")) for name, value in headers if not name.startswith(_HANDSHAKE)
    ]
    async with connect(
        f"ws://{host}{target.decode('latin-1')}",
        host=backend.host,
        port=backend.port,
        subprotocols=offered or None,
        additional_headers=kept,
        user_agent_header=None,
        compression=None,
        max_size=None,
        open_timeout=_OPENING,
        proxy=None,
    ) as upstream:
        yield upstream


async def _pump(upstream: ClientConnection, receive: Receive, send: Send) -> None:
    up = asyncio.create_task(_upwards(upstream, receive))
    down = asyncio.create_task(_downwards(upstream, send))
    try:
        await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for pump in (up, down):
            pump.cancel()
        await asyncio.gather(up, down, return_exceptions=True)


async def _upwards(upstream: ClientConnection, receive: Receive) -> None:
    with suppress(ConnectionClosed):
        while (event := await receive())["type"] == "websocket.receive":
            text = event.get("text")
            await upstream.send(event["bytes"] if text is None else text)
        await upstream.close(event.get("code") or _GOING_AWAY)


async def _downwards(upstream: ClientConnection, send: Send) -> None:
    try:
        while True:
            message = await upstream.recv()
            kind = "text" if isinstance(message, str) else "bytes"
            await send({"type": "websocket.send", kind: message})
    except ConnectionClosed as closed:
        code = closed.rcvd.code if closed.rcvd else _GOING_AWAY
        with suppress(RuntimeError):  # the client has closed, too
            await send({"type": "websocket.close", "code": code})
