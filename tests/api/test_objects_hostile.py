"""The object store's door against bad input, torn uploads and full disks, over a real server."""

import asyncio
import os
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, MutableMapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
import pytest
import uvicorn

from alula.api.objects import ObjectsDoor
from alula.blobs.folder import Folder, Opened
from alula.blobs.sigv4 import Credentials, object_url, presign
from alula.blobs.staged import Staged

_READ = Opened.read
KEYS = Credentials("the-key", "the-secret")


class Server:
    """A door on a port of its own. ``done`` counts the requests that it is through with."""

    def __init__(self, root: Path) -> None:
        self.folder = Folder(root)
        self.door = ObjectsDoor(self.folder, KEYS, lambda: datetime.now(UTC))
        self.done = threading.Semaphore(0)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = "http://{}:{}".format(*self._socket.getsockname())
        self._server = uvicorn.Server(
            uvicorn.Config(self._app, interface="asgi3", http="httptools", lifespan="off", log_level="warning")
        )
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],))

    async def _app(self, scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        try:
            await self.door(scope, receive, send)
        finally:
            self.done.release()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()

    def sign(self, method: str, key: str) -> str:
        url = object_url(self.url, "alula", key)
        return presign(method, url, KEYS, expires=60, now=datetime.now(UTC))

    def signed_target(self, method: str, path: str) -> str:
        url = presign(method, self.url + path, KEYS, expires=60, now=datetime.now(UTC))
        return url.removeprefix(self.url)

    def raw(self, method: str, target: str, headers: str = "", body: bytes = b"") -> tuple[int, str]:
        """A request as it is, not as a client would make it."""
        host = urlsplit(self.url).netloc
        with socket.create_connection((urlsplit(self.url).hostname, urlsplit(self.url).port), timeout=10) as peer:
            head = f"{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n"
            peer.sendall(head.encode() + body)
            answer = b"".join(iter(lambda: peer.recv(65536), b"")).decode()
        return int(answer.split()[1]), answer

    def settle(self) -> None:
        """Forget the requests that are done."""
        while self.done.acquire(blocking=False):
            pass

    def left(self) -> list[str]:
        """What is half written."""
        return [str(path) for path in self.folder.root.rglob(".staging/*")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("objects")) as running:
        yield running
        assert running.left() == []


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/alula/../../etc/passwd", "InvalidArgument"),
        ("/alula/a/%2e%2e/%2e%2e/b", "InvalidArgument"),
        ("/alula/a%2F..%2F..%2Fb", "InvalidArgument"),
        ("/alula/a/./b", "InvalidArgument"),
        ("/alula/a//b", "InvalidArgument"),
        ("/alula//etc/passwd", "InvalidArgument"),
        ("/alula/a%00b", "InvalidArgument"),
        ("/alula/a%0Ab", "InvalidArgument"),
        ("/alula/" + "x" * 251, "InvalidArgument"),
        ("/alula/" + "long/" * 250, "InvalidArgument"),
        ("/alula/%FF", "InvalidURI"),
        ("/other/key", "NoSuchBucket"),
        ("/../alula/key", "NoSuchBucket"),
        ("/.staging/key", "NoSuchBucket"),
        ("/.multipart/alula/key", "NoSuchBucket"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_bad_path_is_refused(server: Server, method: str, path: str, expected: str) -> None:
    before = sorted(server.folder.root.rglob("*"))
    status, answer = server.raw(method, server.signed_target(method, path), "Content-Length: 1\r\n", b"x")
    assert 400 <= status < 500
    assert f"<Code>{expected}</Code>" in answer
    assert sorted(server.folder.root.rglob("*")) == before


def test_a_key_may_end_in_a_slash(server: Server) -> None:
    assert httpx.put(server.sign("PUT", "folder/"), content=b"").status_code == 200
    assert httpx.put(server.sign("PUT", "folder"), content=b"file").status_code == 200
    assert [key for key, _ in server.folder.list("folder")] == ["folder", "folder/"]


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        ("", 403),
        ("Authorization: Basic dTpw\r\n", 400),
        ("Authorization: AWS4-HMAC-SHA256 Credential=x, SignedHeaders=host, Signature=" + "0" * 64 + "\r\n", 400),
    ],
)
def test_what_is_no_signature_is_refused(server: Server, authorization: str, status: int) -> None:
    assert server.raw("GET", "/alula/x", authorization)[0] == status
    assert server.raw("GET", "/", authorization)[0] == status
    assert server.raw("GET", "/alula/x?X-Amz-Signature=0")[0] == 400


def test_a_torn_upload_leaves_the_old_object(server: Server) -> None:
    server.folder.write("torn", b"old")
    target, host = server.signed_target("PUT", "/alula/torn"), urlsplit(server.url)
    server.settle()
    with socket.create_connection((host.hostname, host.port)) as peer:
        peer.sendall(f"PUT {target} HTTP/1.1\r\nHost: {host.netloc}\r\nContent-Length: 9000000\r\n\r\n".encode())
        peer.sendall(b"x" * 3_000_000)
    assert server.done.acquire(timeout=10)
    assert server.left() == []
    assert server.folder.read("torn", 10) == b"old"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ("Content-MD5: AAAAAAAAAAAAAAAAAAAAAA==\r\n", "BadDigest"),
        ("Content-MD5: nonsense\r\n", "InvalidDigest"),
        ("x-amz-content-sha256: " + "0" * 64 + "\r\n", "XAmzContentSHA256Mismatch"),
    ],
)
def test_a_body_that_is_not_what_was_said_is_refused(server: Server, headers: str, expected: str) -> None:
    target = server.signed_target("PUT", "/alula/mismatch")
    status, answer = server.raw("PUT", target, f"{headers}Content-Length: 3\r\n", b"abc")
    assert (status, f"<Code>{expected}</Code>" in answer) == (400, True)
    assert server.folder.stat("mismatch") is None


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/alula?delete", "<Delete>", "MalformedXML"),
        ("/alula?delete", "<Delete/>", "MalformedXML"),
        ("/alula?delete", "<Other><Object><Key>x</Key></Object></Other>", "MalformedXML"),
        (
            "/alula?delete",
            '<!DOCTYPE a [<!ENTITY b "c">]><Delete><Object><Key>&b;</Key></Object></Delete>',
            "MalformedXML",
        ),
        ("/alula?delete", "<Delete>" + "<Object><Key>x</Key></Object>" * 1001 + "</Delete>", "MalformedXML"),
        ("/alula?delete", " " * 5_000_000, "EntityTooLarge"),
        ("/alula/x?uploadId=../../x", "<CompleteMultipartUpload/>", "NoSuchUpload"),
        ("/alula?unknown", "", "NotImplemented"),
        ("/alula/x", "", "MethodNotAllowed"),
    ],
)
def test_a_bad_document_is_refused(server: Server, path: str, body: str, expected: str) -> None:
    reply = httpx.post(server.url + server.signed_target("POST", path), content=body)
    assert f"<Code>{expected}</Code>" in reply.text


@pytest.mark.parametrize(
    "query", ["max-keys=-1", "max-keys=x", "continuation-token=%21", "encoding-type=x", "delimiter=-"]
)
def test_a_bad_listing_is_refused(server: Server, query: str) -> None:
    reply = httpx.get(server.url + server.signed_target("GET", f"/alula?list-type=2&{query}"))
    assert reply.status_code in (400, 501)


@pytest.mark.parametrize("prefix", ["../", "/", "a//", "a/../", "\x00"])
def test_a_strange_prefix_lists_nothing(server: Server, prefix: str) -> None:
    server.folder.write("a/b", b"")
    reply = httpx.get(
        server.url + server.signed_target("GET", f"/alula?list-type=2&encoding-type=url&prefix={prefix!s}")
    )
    assert (reply.status_code, "<KeyCount>0</KeyCount>" in reply.text) == (200, True)


def test_a_refused_upload_is_read_to_its_end_so_that_the_client_sees_why(server: Server) -> None:
    url = server.sign("PUT", "big").replace("Signature=", "Signature=0")
    with httpx.Client() as client:
        for _ in range(2):  # on one connection
            assert client.put(url, content=b"x" * 8_000_000).status_code == 403


class _Full(Staged):
    """A staged file on a disk that has room for one megabyte."""

    def _append(self, data: bytes) -> None:
        if self.size > 1_000_000:
            old = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, old[1]))
            try:
                super()._append(data)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, old)
        super()._append(data)


def test_a_full_disk_is_said_and_leaves_nothing(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alula.blobs.folder.Staged", _Full)
    reply = httpx.put(server.sign("PUT", "full"), content=b"x" * 5_000_000)
    assert (reply.status_code, "<Code>InsufficientStorage</Code>" in reply.text) == (507, True)
    assert "free some space" in reply.text
    assert server.folder.stat("full") is None
    assert httpx.put(server.sign("PUT", "full"), content=b"x" * 500_000).status_code == 200


def test_readers_see_the_old_or_the_new_object_never_a_mix(server: Server) -> None:
    size = 3_000_000

    async def main() -> set[bytes]:
        seen: set[bytes] = set()
        async with httpx.AsyncClient(timeout=60) as client:

            async def write(letter: bytes) -> None:
                for _ in range(8):
                    (await client.put(server.sign("PUT", "shared"), content=letter * size)).raise_for_status()

            async def read() -> None:
                for _ in range(12):
                    reply = await client.get(server.sign("GET", "shared"))
                    assert (len(reply.content), len(set(reply.content))) == (size, 1)
                    assert reply.content[:1] in b"abc"
                    seen.add(reply.content[:1])

            await client.put(server.sign("PUT", "shared"), content=b"a" * size)
            await asyncio.gather(write(b"b"), write(b"c"), read(), read())
        return seen

    assert len(asyncio.run(main())) > 1


def test_a_reader_that_leaves_ends_the_reading(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []

    def read(opened: Opened, start: int, count: int) -> bytes:
        reads.append(start)
        return _READ(opened, start, count)

    monkeypatch.setattr(Opened, "read", read)
    server.folder.write("large", os.urandom(1000) * 256_000)
    server.settle()
    target, host = server.signed_target("GET", "/alula/large"), urlsplit(server.url)
    server.settle()
    with socket.create_connection((host.hostname, host.port)) as peer:
        peer.sendall(f"GET {target} HTTP/1.1\r\nHost: {host.netloc}\r\n\r\n".encode())
        assert peer.recv(100).startswith(b"HTTP/1.1 200")
    assert server.done.acquire(timeout=10)
    assert len(reads) < 200  # of 245


def test_a_large_object_goes_through_little_memory(tmp_path: Path) -> None:
    # The server is a process of its own, and may not grow by as much as it moves.
    program = """
import asyncio, resource, socket, sys, uvicorn
from datetime import UTC, datetime
from pathlib import Path
from alula.api.objects import ObjectsDoor
from alula.blobs.folder import Folder, Opened
from alula.blobs.sigv4 import Credentials
door = ObjectsDoor(Folder(Path(sys.argv[1])), Credentials("the-key", "the-secret"), lambda: datetime.now(UTC))
async def app(scope, receive, send):
    if scope["path"] == "/peak":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return await send({"type": "http.response.body", "body": str(peak).encode()})
    return await door(scope, receive, send)
listening = socket.create_server(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)
uvicorn.Server(uvicorn.Config(app, http="httptools", lifespan="off", log_level="error")).run([listening])
"""
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = f"http://127.0.0.1:{int(process.stdout.readline())}"
        try:
            before = int(httpx.get(url + "/peak").text)
            signed = [
                presign(method, object_url(url, "alula", "large"), KEYS, expires=60, now=datetime.now(UTC))
                for method in ("PUT", "GET")
            ]
            piece, count = b"x" * 1_000_000, 200
            put = httpx.put(signed[0], content=(piece for _ in range(count)), timeout=60)
            assert put.status_code == 200
            with httpx.stream("GET", signed[1], timeout=60) as reply:
                assert sum(map(len, reply.iter_raw())) == count * len(piece)
            grown = int(httpx.get(url + "/peak").text) - before
        finally:
            process.terminate()
    assert grown < 40_000, f"{grown} KiB"


@pytest.mark.parametrize(("length", "status"), [("3", 200), ("4", 400), ("2", 400), ("x", 400)])
async def test_a_body_must_have_the_length_it_says(tmp_path: Path, length: str, status: int) -> None:
    # Over HTTP/1 the server sees to that; over HTTP/2 nobody does but the door.
    door = ObjectsDoor(Folder(tmp_path), KEYS, lambda: datetime.now(UTC))
    url = urlsplit(presign("PUT", "http://h:1/alula/k", KEYS, expires=60, now=datetime.now(UTC)))
    scope = {"type": "http", "http_version": "2", "method": "PUT", "path": url.path, "raw_path": url.path.encode()}
    headers = [(b"host", b"h:1"), (b"content-length", length.encode())]
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"abc"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    await door({**scope, "query_string": url.query.encode(), "headers": headers}, receive, send)
    assert sent[0]["status"] == status
    assert not [name for name, _ in sent[0]["headers"] if name == b"connection"]
