"""The decisions of the layer that need no server."""

import gzip
from typing import Any

import pytest
from google.protobuf.message import Message

from alula.rpc import metadata
from alula.rpc.codec import Garbage
from alula.rpc.compression import accepted, deflate, inflate
from alula.rpc.errors import Code, RpcError
from alula.rpc.http2 import Bucket
from alula.rpc.negotiate import Refusal, Speech, negotiate, unknown
from alula.rpc.service import Kind, Method, Service, snake_case

from .echo import ECHO


@pytest.mark.parametrize(
    ("name", "python"),
    [
        ("Get", "get"),
        ("CreateRun", "create_run"),
        ("GetActionDataURIs", "get_action_data_uris"),
        ("ListURIsOfRun", "list_uris_of_run"),
        ("GetHTTPServer", "get_http_server"),
        ("GetID", "get_id"),
        ("IDs", "ids"),
        ("V2Run", "v2_run"),
        ("WatchRun2Details", "watch_run2_details"),
        ("ServerReflectionInfo", "server_reflection_info"),
    ],
)
def test_snake_case(name: str, python: str) -> None:
    assert snake_case(name) == python


def test_a_typo_dies_at_start() -> None:
    class Typo:
        async def sey(self, request: Any, context: Any) -> None: ...

    with pytest.raises(TypeError, match=r"Typo\.sey is no rpc of tests\.v1\.Echo"):
        Service(ECHO, Typo())


def test_a_handler_of_the_wrong_kind_dies_at_start() -> None:
    class Sync:
        def say(self, request: Any, context: Any) -> None: ...

    class Awaited:
        async def count(self, request: Any, context: Any) -> None: ...

    with pytest.raises(TypeError, match="must be a coroutine function"):
        Service(ECHO, Sync())
    with pytest.raises(TypeError, match="must return an async iterator"):
        Service(ECHO, Awaited())


def test_codes_are_those_of_grpc() -> None:
    import grpc

    numbers = {code.value[0]: code.value[1].replace("cancelled", "canceled") for code in grpc.StatusCode}
    assert {0: "ok", **{code.number: code.label.replace("_", " ") for code in Code}} == numbers


@pytest.mark.parametrize(
    ("value", "seconds"), [("1H", 3600), ("2M", 120), ("3S", 3), ("4m", 0.004), ("5u", 5e-6), ("6n", 6e-9), ("0m", 0)]
)
def test_grpc_timeout(value: str, seconds: float) -> None:
    assert metadata.grpc_timeout({"grpc-timeout": value}) == pytest.approx(seconds)


@pytest.mark.parametrize("value", ["", "1", "S", "-1S", "1 S", "1s", "123456789S", "٣S", "1.5S"])
def test_bad_grpc_timeout(value: str) -> None:
    with pytest.raises(RpcError) as caught:
        metadata.grpc_timeout({"grpc-timeout": value})
    assert caught.value.code is Code.INVALID_ARGUMENT


@pytest.mark.parametrize("value", ["", "-1", "1.5", "12345678901", "٣", "1s"])
def test_bad_connect_timeout(value: str) -> None:
    with pytest.raises(RpcError) as caught:
        metadata.connect_timeout({"connect-timeout-ms": value})
    assert caught.value.code is Code.INVALID_ARGUMENT


def test_no_timeout() -> None:
    assert metadata.connect_timeout({}) is None
    assert metadata.grpc_timeout({}) is None
    assert metadata.connect_timeout({"connect-timeout-ms": "1500"}) == 1.5


def test_the_longest_timeout_fits_a_clock() -> None:
    assert metadata.grpc_timeout({"grpc-timeout": "99999999H"}) == 100 * 365 * 86400


@pytest.mark.parametrize(
    ("text", "encoded"), [("plain, ~ text", "plain, ~ text"), ("50%", "50%25"), ("é\n", "%C3%A9%0A"), ("", "")]
)
def test_percent_encode(text: str, encoded: str) -> None:
    assert metadata.percent_encode(text) == encoded


@pytest.mark.parametrize("value", [b"", b"\0", b"\0\xff", bytes(range(256))])
def test_binary_headers(value: bytes) -> None:
    text = metadata.encode_binary(value)
    assert not text.endswith("=")
    assert metadata.decode_binary(text) == metadata.decode_binary(text + "=" * (-len(text) % 4)) == value


def test_a_binary_header_that_is_not() -> None:
    with pytest.raises(ValueError, match="base64"):
        metadata.decode_binary("!")


@pytest.mark.parametrize("pair", [("x", "a\r\nb"), ("x", "\0"), ("x\n", "a"), ("", "a"), ("x y", "a"), ("x", "\u20ac")])
def test_headers_that_would_break_a_response(pair: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="not a header") as caught:
        metadata.write_headers(dict([pair]))
    assert "a\r\nb" not in str(caught.value)


@pytest.mark.parametrize(
    ("accept", "taken"),
    [
        ("gzip", True),
        ("br, gzip;q=0.5", True),
        ("identity", False),
        ("", False),
        ("x-gzip", False),
        ("gzip;q=0", False),
    ],
)
def test_accepted(accept: str, taken: bool) -> None:
    assert accepted(accept) is taken


@pytest.mark.parametrize("data", [b"", b"x", b"x" * 1000])
def test_inflate(data: bytes) -> None:
    assert inflate(deflate(data), 1000) == data
    assert inflate(gzip.compress(data[:10]) + gzip.compress(data[10:]), 1000) == data


def test_inflate_stops_at_the_limit() -> None:
    with pytest.raises(RpcError) as caught:
        inflate(deflate(b"x" * 1001), 1000)
    assert caught.value.code is Code.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    "data", [b"x", b"\x1f\x8b", gzip.compress(b"abc", mtime=0)[:-1], gzip.compress(b"abc", mtime=0) + b"x"]
)
def test_inflate_garbage(data: bytes) -> None:
    with pytest.raises(Garbage):
        inflate(data, 1000)


def method(kind: Kind, *, safe: bool = False) -> Method:
    """A method of a kind."""
    return Method("/a.B/C", kind, Message, safe=safe, handler=None)


@pytest.mark.parametrize(
    ("kind", "content_type", "answer"),
    [
        (Kind.UNARY, "application/proto", "proto"),
        (Kind.UNARY, "Application/JSON; charset=utf-8", "json"),
        (Kind.UNARY, "application/grpc", "proto"),
        (Kind.UNARY, "application/grpc-web+json", "json"),
        (Kind.UNARY, "application/connect+proto", 415),
        (Kind.UNARY, "application/grpc+thrift", 415),
        (Kind.BIDI, "application/connect+json", "json"),
        (Kind.BIDI, "application/grpc+proto", "proto"),
        (Kind.SERVER_STREAM, "application/json", 415),
        (Kind.CLIENT_STREAM, "", 415),
    ],
)
def test_negotiate(kind: Kind, content_type: str, answer: str | int) -> None:
    decision = negotiate(method(kind), "POST", content_type, "", trailers=True)
    assert (decision.codec.name if isinstance(decision, Speech) else decision.status) == answer


def test_grpc_needs_trailers() -> None:
    decision = negotiate(method(Kind.UNARY), "POST", "application/grpc", "", trailers=False)
    assert isinstance(decision, Refusal)
    assert decision.status == 505


@pytest.mark.parametrize(
    ("path", "verb", "content_type", "answer"),
    [
        ("/a.B/C", "POST", "application/json", 404),
        ("/a.B/C", "POST", "application/grpc", "proto"),
        ("/B/C", "POST", "application/grpc-web", "proto"),
        ("/B/C", "POST", "application/json", None),
        ("/a.B/C", "GET", "application/json", None),
        ("/a.B/C", "POST", "text/html", None),
        ("/", "POST", "application/json", None),
    ],
)
def test_unknown(path: str, verb: str, content_type: str, answer: str | int | None) -> None:
    decision = unknown(path, verb, content_type, trailers=True)
    found = decision.codec.name if isinstance(decision, Speech) else decision.status if decision else None
    assert found == answer


def test_bucket() -> None:
    bucket = Bucket(2, 10.0)
    assert [bucket.take(100.0) for _ in range(3)] == [True, True, False]
    assert bucket.take(100.5) is True
