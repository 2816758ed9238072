"""The client of the flyte SDK, connectrpc, in every protocol and both versions of HTTP."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from connectrpc.client import ConnectClient
from connectrpc.code import Code as ClientCode
from connectrpc.codec import proto_json_codec
from connectrpc.errors import ConnectError
from connectrpc.method import IdempotencyLevel, MethodInfo
from connectrpc.protocol import ProtocolType
from google.protobuf.wrappers_pb2 import StringValue
from pyqwest import Client, HTTPTransport, HTTPVersion

from alula.rpc.errors import Code

from .echo import Ask, Reply, Running

WAYS = [
    pytest.param((ProtocolType.CONNECT, HTTPVersion.HTTP1), id="connect-h1"),
    pytest.param((ProtocolType.CONNECT, HTTPVersion.HTTP2), id="connect-h2"),
    pytest.param((ProtocolType.GRPC, HTTPVersion.HTTP2), id="grpc-h2"),
    pytest.param((ProtocolType.GRPC_WEB, HTTPVersion.HTTP1), id="grpc-web-h1"),
    pytest.param((ProtocolType.GRPC_WEB, HTTPVersion.HTTP2), id="grpc-web-h2"),
]


@pytest_asyncio.fixture(params=WAYS)
async def client(server: Running, request: pytest.FixtureRequest) -> AsyncIterator[ConnectClient]:
    """A client that speaks one of the ways, with gzip as the SDK does."""
    protocol, version = request.param
    transport = Client(HTTPTransport(http_version=version))
    async with ConnectClient(server.url, protocol=protocol, http_client=transport) as one:
        yield one


def info(name: str, level: IdempotencyLevel = IdempotencyLevel.UNKNOWN) -> MethodInfo[Any, Any]:
    """What the client must know of an rpc of Echo."""
    return MethodInfo(name=name, service_name="tests.v1.Echo", input=Ask, output=Reply, idempotency_level=level)


async def asks(*counts: int) -> AsyncIterator[Any]:
    """A stream of requests."""
    for count in counts:
        yield Ask(count=count)


async def collect(replies: AsyncIterator[Any], seen: list[int]) -> None:
    """Note the numbers of the replies in ``seen``, up to an error."""
    async for reply in replies:
        seen.append(reply.number)


@pytest.mark.parametrize("size", [0, 5000, 1_000_000])
async def test_unary(client: ConnectClient, size: int) -> None:
    reply = await client.execute_unary(request=Ask(text="hé", size=size), method=info("Say"))
    assert (reply.text, len(reply.data)) == ("hé", size)


async def test_errors(client: ConnectClient) -> None:
    for code in Code:
        with pytest.raises(ConnectError) as caught:
            await client.execute_unary(request=Ask(text=code.name), method=info("Fail"))
        assert caught.value.code.value == code.label
        assert caught.value.message == "no way: é%"
        detail = StringValue()
        assert caught.value.details[0].Unpack(detail)
        assert detail.value == "why"


async def test_server_stream(client: ConnectClient) -> None:
    request = Ask(count=3, size=5000)
    replies = [reply async for reply in client.execute_server_stream(request=request, method=info("Count"))]
    assert [(reply.number, len(reply.data)) for reply in replies] == [(0, 5000), (1, 5000), (2, 5000)]


async def test_stream_error(client: ConnectClient) -> None:
    seen: list[int] = []
    replies = client.execute_server_stream(request=Ask(count=2, text="ABORTED"), method=info("Count"))
    with pytest.raises(ConnectError) as caught:
        await collect(replies, seen)
    assert (seen, caught.value.code) == ([0, 1], ClientCode.ABORTED)


async def test_client_stream(client: ConnectClient) -> None:
    reply = await client.execute_client_stream(request=asks(1, 2, 3), method=info("Sum"))
    assert reply.number == 6


async def test_bidi(client: ConnectClient) -> None:
    replies = client.execute_bidi_stream(request=asks(1, 2, 3), method=info("Chat"))
    assert [reply.number async for reply in replies] == [1, 2, 3]


async def test_deadline(client: ConnectClient, server: Running) -> None:
    with pytest.raises(ConnectError) as caught:
        await client.execute_unary(request=Ask(), method=info("Wait"), timeout_ms=50)
    assert caught.value.code is ClientCode.DEADLINE_EXCEEDED
    await server.open_calls(0)


async def test_json(server: Running) -> None:
    async with ConnectClient(server.url, codec=proto_json_codec()) as client:
        reply = await client.execute_unary(request=Ask(text="hi", size=3), method=info("Say"))
        assert (reply.text, reply.data) == ("hi", b"xxx")


async def test_get(server: Running) -> None:
    async with ConnectClient(server.url) as client:
        method = info("Say", IdempotencyLevel.NO_SIDE_EFFECTS)
        reply = await client.execute_unary(request=Ask(text="hi"), method=method, use_get=True)
        assert reply.text == "hi"
        assert "connect=v1" in server.context.query
