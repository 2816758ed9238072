"""gRPC through the reverse proxy: an app that speaks nothing but HTTP/2, asked at its path and at its name."""

from collections.abc import AsyncIterator

import grpc
import grpc.aio
import pytest
from flyteidl2.app import app_payload_pb2 as payload

from tests.api.served import Served
from tests.api.test_apps import Owner, app

ECHO = """
import sys
from concurrent.futures import ThreadPoolExecutor
import grpc

def one(request, context):
    if request == b"refuse":
        context.set_trailing_metadata([("why", "asked to")])
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no, and it is said in full")
    context.send_initial_metadata([("seen", dict(context.invocation_metadata()).get("mine", ""))])
    return request * 2

def each(requests, context):
    for request in requests:
        yield request * 2

handlers = {
    "One": grpc.unary_unary_rpc_method_handler(one),
    "Each": grpc.stream_stream_rpc_method_handler(each),
}
server = grpc.server(ThreadPoolExecutor(4))
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("echo.Echo", handlers)])
server.add_insecure_port(f"[::1]:{sys.argv[1]}")
server.start()
server.wait_for_termination()
"""


@pytest.fixture
async def channel(served: Served) -> AsyncIterator[grpc.aio.Channel]:
    """To the app that is called echo, by its name."""
    owner = Owner(served)
    made = await owner.serving(app("echo", "python", "-c", ECHO, "8080"))
    options = [("grpc.default_authority", made.status.ingress.cname_url.removeprefix("http://"))]
    async with grpc.aio.insecure_channel(served.url.removeprefix("http://"), options) as channel:
        yield channel
    await owner.apps.delete(payload.DeleteRequest(app_id=made.metadata.id))
    await owner.http.aclose()


async def test_a_call_its_metadata_and_a_large_message(channel: grpc.aio.Channel) -> None:
    call = channel.unary_unary("/echo.Echo/One")(b"ab" * 1_000_000, metadata=[("mine", "yes")])
    assert await call == b"ab" * 2_000_000
    assert dict(await call.initial_metadata())["seen"] == "yes"


async def test_an_error_comes_with_its_status_and_trailers(channel: grpc.aio.Channel) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await channel.unary_unary("/echo.Echo/One")(b"refuse")
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert refused.value.details() == "no, and it is said in full"
    assert dict(refused.value.trailing_metadata())["why"] == "asked to"


async def test_a_stream_answers_while_it_is_asked(channel: grpc.aio.Channel) -> None:
    call = channel.stream_stream("/echo.Echo/Each")()
    for word in (b"a", b"b", b"c"):
        await call.write(word)
        assert await call.read() == word * 2
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF


async def test_the_clients_leaving_ends_the_call(channel: grpc.aio.Channel, served: Served) -> None:
    call = channel.stream_stream("/echo.Echo/Each")()
    await call.write(b"a")
    assert await call.read() == b"aa"
    call.cancel()
    assert await channel.unary_unary("/echo.Echo/One")(b"still") == b"stillstill"
