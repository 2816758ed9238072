"""Bytes that no client of ours would send: each gets its answer, and the next caller does not notice."""

import contextlib
import gzip
import json
import socket
from collections.abc import Iterator

import httpx
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import ProtocolError

from tests.api.served import Served

UNARY = "/flyteidl2.workflow.RunService/GetRunDetails"
STREAM = "/flyteidl2.workflow.RunService/WatchRunDetails"
LIMIT = 64 * 1024 * 1024
BOMB = gzip.compress(bytes(LIMIT + 1), 9)


@pytest.fixture(params=["http1", "h2c"])
def client(request: pytest.FixtureRequest, served: Served) -> Iterator[httpx.Client]:
    h2 = request.param == "h2c"
    with httpx.Client(base_url=served.url, http1=not h2, http2=h2, timeout=30) as made:
        yield made
        assert made.get("/healthz").status_code == 200  # on the same connection, if it is still there


def end(response: httpx.Response) -> dict[str, str]:
    """The error at the end of a Connect stream."""
    assert response.status_code == 200
    flags, content = response.content[0], response.content[5:]
    assert flags == 2
    error: dict[str, str] = json.loads(content)["error"]
    return error


def enveloped(content: bytes, flags: int = 0, size: int | None = None) -> bytes:
    return bytes([flags]) + (len(content) if size is None else size).to_bytes(4, "big") + content


def test_a_bomb(client: httpx.Client, served: Served) -> None:
    """Case O4."""
    assert len(BOMB) < 100_000
    headers = {"content-type": "application/proto", "content-encoding": "gzip"}
    response = client.post(UNARY, content=BOMB, headers=headers)
    assert (response.status_code, response.json()["code"]) == (429, "resource_exhausted")
    assert str(LIMIT) in response.json()["message"]
    headers = {"content-type": "application/connect+proto", "connect-content-encoding": "gzip"}
    assert end(client.post(STREAM, content=enveloped(BOMB, 1), headers=headers))["code"] == "resource_exhausted"
    assert served.memory() < 300


def test_a_message_that_is_announced_too_large(client: httpx.Client) -> None:
    headers = {"content-type": "application/connect+proto"}
    told = end(client.post(STREAM, content=enveloped(b"x", size=2**32 - 1), headers=headers))
    assert told["code"] == "resource_exhausted"


@pytest.mark.parametrize(
    "body", [b"\x00", b"\x00\x00\x00\x00", enveloped(b"abc", size=10), enveloped(b"\xff" * 20), enveloped(b"", 1)[:4]]
)
def test_truncated_and_wrong_envelopes(client: httpx.Client, body: bytes) -> None:
    headers = {"content-type": "application/connect+proto"}
    assert end(client.post(STREAM, content=body, headers=headers))["code"] == "invalid_argument"


@pytest.mark.parametrize("body", [b"\xff" * 1000, b"\x0a\xff\xff\xff\xff\x07", bytes(range(256))])
def test_garbage(client: httpx.Client, body: bytes) -> None:
    for headers in (
        {"content-type": "application/proto"},
        {"content-type": "application/json"},
        {"content-type": "application/proto", "content-encoding": "gzip"},
    ):
        response = client.post(UNARY, content=body, headers=headers)
        assert (response.status_code, response.json()["code"]) == (400, "invalid_argument"), headers


def test_an_unknown_compression(client: httpx.Client) -> None:
    headers = {"content-type": "application/proto", "content-encoding": "br"}
    response = client.post(UNARY, content=b"x", headers=headers)
    assert (response.status_code, response.json()["code"]) == (501, "unimplemented")
    assert "gzip" in response.json()["message"]


def test_json_without_a_bottom(client: httpx.Client) -> None:
    response = client.post(UNARY, content=b'{"runId":' * 100_000, headers={"content-type": "application/json"})
    assert (response.status_code, response.json()["code"]) == (400, "invalid_argument")


def test_headers_without_end_by_http1(served: Served) -> None:
    """Case O4."""
    with socket.create_connection(("127.0.0.1", served.port)) as connection:
        connection.settimeout(10)
        connection.sendall(f"POST {UNARY} HTTP/1.1\r\nhost: localhost\r\n".encode())
        answer = b""
        try:
            for number in range(20_000):
                connection.sendall(b"x-header-%d: y\r\n" % number)
            answer = connection.recv(65536)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it hung up while we still spoke
        assert not answer or answer.startswith(b"HTTP/1.1 400 ")
    assert httpx.get(f"{served.url}/healthz").status_code == 200


def test_headers_without_end_by_h2c(served: Served) -> None:
    """Case O4."""
    with socket.create_connection(("127.0.0.1", served.port)) as connection:
        connection.settimeout(10)
        h2 = H2Connection(H2Configuration(client_side=True))
        h2.initiate_connection()
        head = [(":method", "POST"), (":path", UNARY), (":scheme", "http"), (":authority", "localhost")]
        h2.send_headers(1, [*head, *((f"x-{number}", "y" * 10) for number in range(20_000))])
        said = b""
        try:
            connection.sendall(h2.data_to_send())
            while data := connection.recv(65536):
                said += data
        except (BrokenPipeError, ConnectionResetError):
            pass
    events = []
    with contextlib.suppress(ProtocolError):
        events = h2.receive_data(said)
    assert not any(type(event).__name__ == "ResponseReceived" for event in events)
    assert httpx.get(f"{served.url}/healthz").status_code == 200


def test_what_is_no_http(served: Served) -> None:
    for data in (b"\x16\x03\x01\x02\x00", b"SSH-2.0-x\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 100):
        with socket.create_connection(("127.0.0.1", served.port)) as connection:
            connection.settimeout(10)
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            try:
                while connection.recv(65536):
                    pass
            except ConnectionResetError:
                pass
    assert httpx.get(f"{served.url}/healthz").status_code == 200
