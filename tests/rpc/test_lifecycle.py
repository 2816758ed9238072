"""How calls end when nobody finishes them: clients that leave or do not read, and servers that stop."""

import asyncio
import json
from typing import Any

import grpc
import httpx
import pytest
import uvloop

from alula.rpc.asgi import Asgi, Receive, Scope, Send

from .echo import Ask, Reply, Running, serving

STREAM = {"content-type": "application/connect+proto"}


def framed(message: Any) -> bytes:
    """One message of a stream."""
    data: bytes = message.SerializeToString()
    return b"\0" + len(data).to_bytes(4, "big") + data


def head(method: str, size: int, content_type: str = "application/connect+proto") -> bytes:
    """The head of an HTTP/1.1 request."""
    return (
        f"POST /tests.v1.Echo/{method} HTTP/1.1\r\nhost: x\r\ncontent-type: {content_type}\r\n"
        f"content-length: {size}\r\n\r\n"
    ).encode()


def count(channel: grpc.aio.Channel, request: Any) -> Any:
    """A gRPC call of Count."""
    return channel.unary_stream(
        "/tests.v1.Echo/Count",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=Reply.FromString,
    )(request)


@pytest.mark.parametrize(
    "request_",
    [
        head("Wait", 0, "application/proto"),
        head("Count", len(framed(Ask(text="wait")))) + framed(Ask(text="wait")),
        head("Sum", 1000) + framed(Ask(count=1)),
        head("Chat", 1000) + framed(Ask(text="wait")) * 20,
    ],
    ids=["unary", "server stream", "client stream", "bidi"],
)
async def test_a_client_that_leaves_ends_the_handler(server: Running, request_: bytes) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request_)
    await server.open_calls(1)
    writer.close()
    await server.open_calls(0)


async def test_a_slow_reader_stops_the_handler(server: Running, http: httpx.AsyncClient) -> None:
    request = framed(Ask(count=20_000, size=50_000))  # a gigabyte
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1 << 16)
    writer.write(head("Count", len(request)) + request)
    await server.open_calls(1)
    for _ in range(100):  # the server has all the time it wants
        assert (await http.post("/tests.v1.Echo/Say", json={})).status_code == 200
    stopped_at = server.sent
    assert stopped_at < 500  # what the buffers of two sockets hold
    for _ in range(50):
        await http.post("/tests.v1.Echo/Say", json={})
    assert server.sent == stopped_at
    for _ in range(400):
        await reader.readexactly(50_000)
    assert server.sent > stopped_at
    writer.close()
    await server.open_calls(0)


async def test_stop_tells_every_open_stream(caplog: pytest.LogCaptureFixture) -> None:
    loop = asyncio.get_running_loop()
    async with (
        serving() as server,
        grpc.aio.insecure_channel(server.target) as channel,
        httpx.AsyncClient(base_url=server.url) as http,
    ):
        request = framed(Ask(count=1, text="wait"))
        calls = [count(channel, Ask(count=1, text="wait")) for _ in range(50)]
        for call in calls:
            await call.read()
        async with http.stream("POST", "/tests.v1.Echo/Count", content=request, headers=STREAM) as response:
            await server.open_calls(51)
            started = loop.time()
            server.stop.set()
            body = await response.aread()
        end = json.loads(body[body.rindex(b"\x02") + 5 :])
        assert end["error"] == {"code": "unavailable", "message": "the server is shutting down"}
        for call in calls:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call.read()
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            assert caught.value.details() == "the server is shutting down"
        assert server.done is not None
        await server.done
        assert loop.time() - started < 1.0
    assert "outlived" not in caplog.text


async def test_draining_refuses_streams_and_serves_the_rest(server: Running, http: httpx.AsyncClient) -> None:
    server.app.draining.set()
    stream = await http.post("/tests.v1.Echo/Count", content=framed(Ask(count=1)), headers=STREAM)
    assert json.loads(stream.content[5:])["error"]["code"] == "unavailable"
    assert (await http.post("/tests.v1.Echo/Say", json={})).status_code == 200


async def test_the_grace_bounds_the_stop() -> None:
    loop = asyncio.get_running_loop()
    async with serving(grace=0.2) as server:
        _, waiting = await asyncio.open_connection("127.0.0.1", server.port)
        waiting.write(head("Wait", 0, "application/proto"))
        request = framed(Ask(count=20_000, size=50_000))
        _, unread = await asyncio.open_connection("127.0.0.1", server.port, limit=1 << 16)
        unread.write(head("Count", len(request)) + request)
        await server.open_calls(2)
        started = loop.time()
        server.stop.set()
        assert server.done is not None
        await server.done
        assert loop.time() - started < 1.5
        await server.open_calls(0)
        waiting.close()
        unread.close()


async def test_an_unary_call_may_end_during_the_stop() -> None:
    async with serving() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(head("Say", 3, "application/json"))
        writer.write(b"{")
        async with httpx.AsyncClient(base_url=server.url) as http:
            await http.post("/tests.v1.Echo/Say", json={})  # by now the first has been read
        server.stop.set()
        await server.app.draining.wait()
        writer.write(b"} ")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_a_front_meets_requests_first() -> None:
    seen: list[str] = []

    def front(app: Asgi) -> Asgi:
        async def note(scope: Scope, receive: Receive, send: Send) -> None:
            seen.append(scope["path"])
            await app(scope, receive, send)

        return note

    async with serving(front=front) as server, httpx.AsyncClient(base_url=server.url) as http:
        assert (await http.post("/tests.v1.Echo/Say", json={})).status_code == 200
    assert seen == ["/tests.v1.Echo/Say"]


def test_uvloop() -> None:
    """Its transports are classes of their own."""

    async def main() -> None:
        async with (
            serving() as server,
            grpc.aio.insecure_channel(server.target) as channel,
            httpx.AsyncClient(base_url=server.url) as http,
        ):
            assert (await http.post("/tests.v1.Echo/Say", json={"text": "a"})).json() == {"text": "a"}
            assert [reply.number async for reply in count(channel, Ask(count=2, size=300_000))] == [0, 1]
            call = count(channel, Ask(count=1, text="wait"))
            await call.read()
            call.cancel()
            await server.open_calls(0)

    uvloop.run(main())


async def test_small_requests_do_not_wait_for_each_other(http: httpx.AsyncClient) -> None:
    """Without TCP_NODELAY each costs the 40 ms of a delayed acknowledgement."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    for _ in range(25):
        await http.post("/tests.v1.Echo/Say", json={})
    assert loop.time() - started < 0.8
