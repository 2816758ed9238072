"""Connect by plain HTTP: what is on the wire, and what malformed requests get."""

import base64
import gzip
import json
import tracemalloc
import zlib
from typing import Any

import httpx
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from alula.rpc.call import Finished
from alula.rpc.errors import Code, RpcError

from .echo import Ask, Reply, Running, serving

SAY = "/tests.v1.Echo/Say"
JSON = {"content-type": "application/json"}
PROTO = {"content-type": "application/proto"}
STREAM = {"content-type": "application/connect+proto"}


def frames(body: bytes) -> list[tuple[int, bytes]]:
    """The messages of a stream."""
    found = []
    while body:
        size = int.from_bytes(body[1:5], "big")
        found.append((body[0], body[5 : 5 + size]))
        body = body[5 + size :]
    return found


def framed(message: bytes, flags: int = 0) -> bytes:
    """One message of a stream."""
    return bytes([flags]) + len(message).to_bytes(4, "big") + message


async def test_json(http: httpx.AsyncClient) -> None:
    response = await http.post(SAY, content=b'{"text": "h\xc3\xa9", "unknown": 1}', headers=JSON)
    assert (response.status_code, response.json()) == (200, {"text": "hé"})
    assert response.headers["content-type"] == "application/json"


async def test_proto(http: httpx.AsyncClient) -> None:
    response = await http.post(SAY, content=Ask(text="hi").SerializeToString(), headers=PROTO)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/proto"
    assert Reply.FromString(response.content).text == "hi"


async def test_metadata(http: httpx.AsyncClient, server: Running) -> None:
    sent = [*JSON.items(), ("X-Echo", "a"), ("x-echo", "b"), ("x-trail-bin", "AAE")]
    response = await http.post(SAY, content=b"{}", headers=sent)
    assert response.headers["x-echo"] == "a, b"
    assert response.headers["trailer-x-trail-bin"] == "AAE"
    assert server.context.peer.startswith("127.0.0.1:")
    assert server.context.method == SAY


@pytest.mark.parametrize(("size", "accept", "encoding"), [(10, "gzip", None), (5000, "gzip", "gzip"), (5000, "", None)])
async def test_response_compression(http: httpx.AsyncClient, size: int, accept: str, encoding: str | None) -> None:
    headers = {**PROTO, "accept-encoding": accept}
    response = await http.post(SAY, content=Ask(size=size).SerializeToString(), headers=headers)
    assert response.headers.get("content-encoding") == encoding
    assert len(Reply.FromString(response.content).data) == size


async def test_request_compression(http: httpx.AsyncClient) -> None:
    headers = {**JSON, "content-encoding": "gzip"}
    response = await http.post(SAY, content=gzip.compress(b'{"text": "hi"}'), headers=headers)
    assert response.json() == {"text": "hi"}


@pytest.mark.parametrize(
    ("headers", "body", "status", "code"),
    [
        (PROTO, b"\xff\xff", 400, "invalid_argument"),
        (JSON, b"", 400, "invalid_argument"),
        (JSON, b"{", 400, "invalid_argument"),
        (JSON, b"[" * 100_000, 400, "invalid_argument"),
        (JSON, b'{"text": "\xff"}', 400, "invalid_argument"),
        (JSON, b'{"text": "\\ud800"}', 400, "invalid_argument"),
        (JSON, b'{"count": 1e400}', 400, "invalid_argument"),
        ({**JSON, "content-encoding": "gzip"}, b"{}", 400, "invalid_argument"),
        ({**JSON, "content-encoding": "gzip"}, gzip.compress(b"{}", mtime=0)[:-9], 400, "invalid_argument"),
        ({**JSON, "content-encoding": "br"}, b"{}", 501, "unimplemented"),
        ({**JSON, "connect-timeout-ms": "soon"}, b"{}", 400, "invalid_argument"),
        ({**JSON, "connect-timeout-ms": "0"}, b"{}", 504, "deadline_exceeded"),
        ({**JSON, "connect-protocol-version": "2"}, b"{}", 400, "invalid_argument"),
    ],
)
async def test_malformed(http: httpx.AsyncClient, headers: dict[str, str], body: bytes, status: int, code: str) -> None:
    path = "/tests.v1.Echo/Wait" if code == "deadline_exceeded" else SAY
    response = await http.post(path, content=body, headers=headers)
    assert (response.status_code, response.json()["code"]) == (status, code)
    again = await http.post(SAY, content=b"{}", headers=JSON)  # on the same connection
    assert again.status_code == 200


async def test_unknown_compression_names_the_known(http: httpx.AsyncClient) -> None:
    response = await http.post(SAY, content=b"{}", headers={**JSON, "content-encoding": "br"})
    assert "gzip" in response.json()["message"]
    assert response.headers["accept-encoding"] == "gzip, identity"


@pytest.mark.parametrize(
    ("verb", "path", "content_type", "status"),
    [
        ("POST", SAY, "image/png", 415),
        ("POST", SAY, "", 415),
        ("POST", SAY, "application/connect+proto", 415),
        ("POST", "/tests.v1.Echo/Count", "application/proto", 415),
        ("DELETE", SAY, "application/proto", 405),
        ("GET", "/tests.v1.Echo/Fail", "", 405),
        ("POST", SAY, "application/grpc", 505),
        ("POST", "/tests.v1.Other/Say", "application/json", 404),
        ("GET", "/", "", 404),
    ],
)
async def test_status(http: httpx.AsyncClient, verb: str, path: str, content_type: str, status: int) -> None:
    response = await http.request(verb, path, content=b"", headers={"content-type": content_type})
    assert response.status_code == status
    assert (await http.post(SAY, content=b"{}", headers=JSON)).status_code == 200


async def test_unknown_method_is_unimplemented(http: httpx.AsyncClient) -> None:
    unknown = await http.post("/tests.v1.Other/Say", content=b"{}", headers=JSON)
    assert (unknown.status_code, unknown.json()["code"]) == (404, "unimplemented")
    missing = await http.post("/tests.v1.Echo/Missing", content=b"{}", headers=JSON)
    assert (missing.status_code, missing.json()["code"]) == (501, "unimplemented")


async def test_fallback_gets_the_rest() -> None:
    async def fallback(scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["path"].encode()})

    async with serving(fallback=fallback) as server, httpx.AsyncClient(base_url=server.url) as http:
        assert (await http.get("/console")).text == "/console"
        assert (await http.post("/upload/it", content=b"{}", headers=JSON)).text == "/upload/it"
        assert (await http.post("/tests.v1.Other/It", content=b"{}", headers=JSON)).status_code == 404


@pytest.mark.parametrize(
    "query",
    [
        {"message": '{"text": "hi"}'},
        {"message": base64.urlsafe_b64encode(b'{"text": "hi"}').decode(), "base64": "1"},
        {"message": base64.urlsafe_b64encode(b'{"text": "hi"}').decode().rstrip("="), "base64": "1", "connect": "v1"},
        {
            "message": base64.urlsafe_b64encode(gzip.compress(b'{"text": "hi"}')).decode(),
            "base64": "1",
            "compression": "gzip",
        },
    ],
)
async def test_get(http: httpx.AsyncClient, query: dict[str, str]) -> None:
    response = await http.get(SAY, params={"encoding": "json", **query})
    assert (response.status_code, response.json()) == (200, {"text": "hi"})


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"encoding": "json"}, 400),
        ({"encoding": "xml", "message": "{}"}, 415),
        ({"message": "{}"}, 415),
        ({"encoding": "json", "message": "{}", "connect": "v2"}, 400),
        ({"encoding": "json", "message": "!", "base64": "1"}, 400),
        ({"encoding": "json", "message": "{}", "compression": "br"}, 501),
    ],
)
async def test_bad_get(http: httpx.AsyncClient, query: dict[str, str], status: int) -> None:
    assert (await http.get(SAY, params=query)).status_code == status


@pytest.mark.parametrize("code", Code)
async def test_every_code(http: httpx.AsyncClient, code: Code) -> None:
    response = await http.post("/tests.v1.Echo/Fail", json={"text": code.name})
    assert response.status_code == code.http
    assert response.headers["trailer-x-why"] == "asked"
    value = base64.b64encode(StringValue(value="why").SerializeToString()).decode().rstrip("=")
    assert response.json() == {
        "code": code.label,
        "message": "no way: é%",
        "details": [{"type": "google.protobuf.StringValue", "value": value}],
    }


@pytest.mark.parametrize("bug", ["lookup", "header", "inner"])
async def test_a_bug_is_internal_and_tells_nothing(
    http: httpx.AsyncClient, bug: str, caplog: pytest.LogCaptureFixture
) -> None:
    response = await http.post("/tests.v1.Echo/Fail", json={"text": bug})
    assert (response.status_code, response.json()["code"]) == (500, "internal")
    assert "secrets" not in response.text
    assert "/tests.v1.Echo/Fail failed" in caplog.text
    assert "Traceback" in caplog.text


async def test_translate_and_check() -> None:
    def translate(error: Exception) -> RpcError | None:
        return RpcError(Code.NOT_FOUND, "gone") if isinstance(error, LookupError) else None

    def check(message: Any) -> None:
        if message.count < 0:
            raise RpcError(Code.INVALID_ARGUMENT, "count is negative")

    seen: list[Finished] = []
    async with (
        serving(translate=translate, check=check, observe=seen.append) as server,
        httpx.AsyncClient(base_url=server.url) as http,
    ):
        assert (await http.post("/tests.v1.Echo/Fail", json={"text": "lookup"})).status_code == 404
        assert (await http.post(SAY, json={"count": -1})).json()["message"] == "count is negative"
        assert (await http.post(SAY, json={})).status_code == 200
    assert [(one.method, one.protocol, one.code) for one in seen] == [
        ("/tests.v1.Echo/Fail", "connect", "not_found"),
        (SAY, "connect", "invalid_argument"),
        (SAY, "connect", "ok"),
    ]


async def test_server_stream(http: httpx.AsyncClient) -> None:
    body = framed(Ask(count=3).SerializeToString())
    response = await http.post("/tests.v1.Echo/Count", content=body, headers=STREAM)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/connect+proto"
    assert response.headers["x-lead"] == "1"
    *messages, (flags, end) = frames(response.content)
    assert [Reply.FromString(data).number for _, data in messages] == [0, 1, 2]
    assert (flags, json.loads(end)) == (2, {"metadata": {"x-trail": ["2"]}})


async def test_stream_error(http: httpx.AsyncClient) -> None:
    body = framed(Ask(count=1, text="ABORTED").SerializeToString())
    response = await http.post("/tests.v1.Echo/Count", content=body, headers=STREAM)
    assert response.status_code == 200
    end = json.loads(frames(response.content)[-1][1])
    assert end["error"] == {"code": "aborted", "message": "midway"}


async def test_stream_compression(http: httpx.AsyncClient) -> None:
    headers = {**STREAM, "connect-content-encoding": "gzip", "connect-accept-encoding": "gzip"}
    body = framed(gzip.compress(Ask(count=1, size=5000).SerializeToString()), flags=1)
    response = await http.post("/tests.v1.Echo/Count", content=body, headers=headers)
    assert response.headers["connect-content-encoding"] == "gzip"
    flags, data = frames(response.content)[0]
    assert flags == 1
    assert len(Reply.FromString(gzip.decompress(data)).data) == 5000


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "unimplemented"),
        (framed(b"") * 2, "unimplemented"),
        (framed(b"")[:3], "invalid_argument"),
        (framed(b"abc")[:-1], "invalid_argument"),
        (framed(b"\xff"), "invalid_argument"),
        (framed(b"", flags=4), "invalid_argument"),
        (framed(b"x", flags=1), "internal"),
        (b"\0\xff\xff\xff\xff", "resource_exhausted"),
    ],
)
async def test_malformed_stream(http: httpx.AsyncClient, body: bytes, code: str) -> None:
    response = await http.post("/tests.v1.Echo/Count", content=body, headers=STREAM)
    assert response.status_code == 200
    assert json.loads(frames(response.content)[-1][1])["error"]["code"] == code
    assert (await http.post(SAY, content=b"{}", headers=JSON)).status_code == 200


async def test_client_stream(http: httpx.AsyncClient) -> None:
    body = b"".join(framed(Ask(count=n).SerializeToString()) for n in (1, 2, 3))
    response = await http.post("/tests.v1.Echo/Sum", content=body, headers=STREAM)
    assert Reply.FromString(frames(response.content)[0][1]).number == 6


async def test_too_large() -> None:
    async with serving(max_message=1000) as server, httpx.AsyncClient(base_url=server.url) as http:
        at_limit = Ask(text="x" * 997).SerializeToString()
        assert len(at_limit) == 1000
        assert (await http.post(SAY, content=at_limit, headers=PROTO)).status_code == 200
        refused = await http.post(SAY, content=at_limit + b"\x10\x01", headers=PROTO)
        assert (refused.status_code, refused.json()["code"]) == (429, "resource_exhausted")
        assert (await http.post(SAY, content=b"x" * 1_000_000, headers=PROTO)).status_code == 429
        assert (await http.post(SAY, content=b"", headers=PROTO)).status_code == 200


async def test_gzip_bomb() -> None:
    bomber = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join([*(bomber.compress(bytes(1 << 20)) for _ in range(500)), bomber.flush()])
    limit = 1 << 20
    assert len(bomb) < limit
    async with serving(max_message=limit) as server, httpx.AsyncClient(base_url=server.url) as http:
        tracemalloc.start()
        response = await http.post(SAY, content=bomb, headers={**PROTO, "content-encoding": "gzip"})
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert response.json()["code"] == "resource_exhausted"
        assert peak < 12 * limit
        assert (await http.post(SAY, content=b"", headers=PROTO)).status_code == 200
