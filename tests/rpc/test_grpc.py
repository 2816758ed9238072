"""gRPC as grpcio speaks it, with health and reflection as their own clients do."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.wrappers_pb2 import StringValue
from google.rpc import status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from alula.rpc.errors import Code
from alula.rpc.health import Health, Serving
from alula.rpc.reflection import reflection
from alula.rpc.service import Service

from .echo import ECHO, Ask, Echo, Reply, Running, serving


def stub(channel: grpc.aio.Channel, method: str) -> Any:
    """A callable for one rpc of Echo."""
    kinds = {"Count": channel.unary_stream, "Sum": channel.stream_unary, "Chat": channel.stream_stream}
    return kinds.get(method, channel.unary_unary)(
        f"/tests.v1.Echo/{method}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=Reply.FromString,
    )


async def asks(*counts: int) -> AsyncIterator[Any]:
    """A stream of requests."""
    for count in counts:
        yield Ask(count=count)


async def test_unary_and_metadata(channel: grpc.aio.Channel) -> None:
    call = stub(channel, "Say")(Ask(text="hi"), metadata=[("x-echo-bin", b"\0\xff"), ("x-trail", "t")])
    assert (await call).text == "hi"
    assert ("x-echo-bin", b"\0\xff") in list(await call.initial_metadata())
    assert ("x-trail", "t") in list(await call.trailing_metadata())
    assert await call.code() is grpc.StatusCode.OK


@pytest.mark.parametrize("size", [10, 5000, 1_500_000])
async def test_gzip(server: Running, size: int) -> None:
    async with grpc.aio.insecure_channel(server.target, compression=grpc.Compression.Gzip) as channel:
        reply = await stub(channel, "Say")(Ask(text="y" * size, size=size))
    assert (len(reply.text), len(reply.data)) == (size, size)


@pytest.mark.parametrize("code", Code)
async def test_errors(channel: grpc.aio.Channel, code: Code) -> None:
    call = stub(channel, "Fail")(Ask(text=code.name))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error = caught.value
    assert error.code().value[0] == code.number
    assert error.details() == "no way: é%"
    trailers = dict(error.trailing_metadata())
    assert trailers["x-why"] == "asked"
    status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    why = StringValue()
    assert status.details[0].Unpack(why)
    assert (status.code, status.message, why.value) == (code.number, "no way: é%", "why")


async def test_a_bug_is_internal(channel: grpc.aio.Channel) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub(channel, "Fail")(Ask(text="lookup"))
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert "secrets" not in caught.value.details()


@pytest.mark.parametrize("path", ["/tests.v1.Echo/Missing", "/tests.v1.Echo/None", "/None/None"])
async def test_unimplemented(channel: grpc.aio.Channel, path: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channel.unary_unary(path)(b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_garbage_is_internal(channel: grpc.aio.Channel) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channel.unary_unary("/tests.v1.Echo/Say")(b"\xff")
    assert caught.value.code() is grpc.StatusCode.INTERNAL


async def test_too_large() -> None:
    async with serving(max_message=1000) as server, grpc.aio.insecure_channel(server.target) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub(channel, "Say")(Ask(text="x" * 1_000_000))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await stub(channel, "Say")(Ask(text="ok"))).text == "ok"


async def test_server_stream(channel: grpc.aio.Channel) -> None:
    call = stub(channel, "Count")(Ask(count=3))
    assert [reply.number async for reply in call] == [0, 1, 2]
    assert ("x-lead", "1") in list(await call.initial_metadata())
    assert ("x-trail", "2") in list(await call.trailing_metadata())


async def test_stream_error(channel: grpc.aio.Channel) -> None:
    call = stub(channel, "Count")(Ask(count=2, text="ABORTED"))
    assert (await call.read()).number == 0
    assert (await call.read()).number == 1
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert caught.value.code() is grpc.StatusCode.ABORTED


async def test_client_stream(channel: grpc.aio.Channel) -> None:
    assert (await stub(channel, "Sum")(asks(1, 2, 3))).number == 6
    assert (await stub(channel, "Sum")(asks())).number == 0


async def test_bidi_is_full_duplex(channel: grpc.aio.Channel) -> None:
    call = stub(channel, "Chat")()
    for number in range(3):
        await call.write(Ask(count=number))
        assert (await call.read()).number == number
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF


@pytest.mark.parametrize("method", ["Wait", "Count", "Sum", "Chat"])
async def test_deadline(channel: grpc.aio.Channel, server: Running, method: str) -> None:
    """The server ends the call by itself: its handler is gone although the client was told to wait longer."""
    metadata = [("grpc-timeout", "50m")]
    if method in ("Wait", "Count"):
        call = stub(channel, method)(Ask(text="wait"), metadata=metadata)
    else:
        call = stub(channel, method)(metadata=metadata)
        await call.write(Ask())
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await (_all(call) if method in ("Count", "Chat") else call)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await server.open_calls(0)


async def _all(call: Any) -> list[Any]:
    return [reply async for reply in call]


@pytest.mark.parametrize("method", ["Wait", "Count", "Sum", "Chat"])
async def test_cancel_reaches_the_handler(channel: grpc.aio.Channel, server: Running, method: str) -> None:
    if method in ("Wait", "Count"):
        call = stub(channel, method)(Ask(text="wait"))
        reading = asyncio.ensure_future(_all(call) if method == "Count" else _awaited(call))
    else:
        call = stub(channel, method)()
        for _ in range(3):
            await call.write(Ask(text="wait"))  # Chat reads one of them
        reading = asyncio.ensure_future(_awaited(call) if method == "Sum" else _all(call))
    await server.open_calls(1)
    call.cancel()
    await server.open_calls(0)
    await asyncio.wait([reading])


async def _awaited(call: Any) -> Any:
    return await call


async def test_600_streams_on_one_connection(channel: grpc.aio.Channel, server: Running) -> None:
    calls = [stub(channel, "Count")(Ask(count=1, text="wait")) for _ in range(600)]
    first = await asyncio.gather(*(call.read() for call in calls))
    assert [reply.number for reply in first] == [0] * 600
    await server.open_calls(600)
    for call in calls:
        call.cancel()
    await server.open_calls(0)
    assert (await stub(channel, "Say")(Ask(text="still"))).text == "still"


async def test_health() -> None:
    health = Health(["tests.v1.Echo"])
    async with serving(health.service()) as server, grpc.aio.insecure_channel(server.target) as channel:
        client = health_pb2_grpc.HealthStub(channel)
        response = await client.Check(health_pb2.HealthCheckRequest())
        assert response.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.Check(health_pb2.HealthCheckRequest(service="none"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND

        known = client.Watch(health_pb2.HealthCheckRequest(service="tests.v1.Echo"))
        unknown = client.Watch(health_pb2.HealthCheckRequest(service="none"))
        assert (await known.read()).status == health_pb2.HealthCheckResponse.SERVING
        assert (await unknown.read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        health.set("tests.v1.Echo", Serving.NOT_SERVING)
        health.set("none", Serving.SERVING)
        assert (await known.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert (await unknown.read()).status == health_pb2.HealthCheckResponse.SERVING
        async with httpx.AsyncClient() as http:
            checked = await http.post(f"{server.url}/grpc.health.v1.Health/Check", json={"service": "none"})
        assert checked.json() == {"status": "SERVING"}


async def test_reflection() -> None:
    health = Health()
    described = reflection([Service(ECHO, Echo()), health.service()])
    async with serving(*described) as server:
        found = await asyncio.to_thread(_reflect, server.target)
    assert found["services"] == [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        "tests.v1.Echo",
    ]
    assert found["methods"] == [method.name for method in ECHO.methods]
    assert found["health"] == ["Check", "List", "Watch"]


def _reflect(target: str) -> dict[str, list[str]]:
    with grpc.insecure_channel(target) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        pool = DescriptorPool(database)
        return {
            "services": sorted(database.get_services()),
            "methods": [method.name for method in pool.FindServiceByName("tests.v1.Echo").methods],
            "health": [method.name for method in pool.FindServiceByName("grpc.health.v1.Health").methods],
        }


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"file_by_filename": "none.proto"}, 5),
        ({"file_containing_symbol": "none.None"}, 5),
        ({"all_extension_numbers_of_type": "none.None"}, 5),
        ({"file_containing_extension": {"containing_type": "tests.v1.Ask", "extension_number": 7}}, 5),
        ({}, 3),
    ],
)
async def test_reflection_of_what_is_not(request_: dict[str, Any], code: int) -> None:
    async with (
        serving(*reflection([Service(ECHO, Echo())])) as server,
        grpc.aio.insecure_channel(server.target) as channel,
    ):
        call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo()
        await call.write(reflection_pb2.ServerReflectionRequest(**request_))
        assert (await call.read()).error_response.error_code == code
        await call.write(reflection_pb2.ServerReflectionRequest(all_extension_numbers_of_type="tests.v1.Ask"))
        assert (await call.read()).all_extension_numbers_response.base_type_name == "tests.v1.Ask"
