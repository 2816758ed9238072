"""The logs of a simulated node's containers, and the door (HTTPS) through which an API server asks for them."""

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

Send = Callable[[dict[str, Any]], Awaitable[None]]


class Container(NamedTuple):
    """Which log."""

    namespace: str
    pod: str
    name: str


class _Log:
    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []  # time, text
        self.previous: list[tuple[str, str]] = []
        self.over = False
        self.news = asyncio.Event()

    def tell(self) -> None:
        self.news.set()
        self.news = asyncio.Event()


class NodeLogs:
    """What containers have said."""

    def __init__(self) -> None:
        self._logs: dict[Container, _Log] = {}
        self.port = 0

    def write(self, container: Container, *lines: str) -> None:
        log = self._logs.setdefault(container, _Log())
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
        log.lines += [(now, line) for line in lines]
        log.tell()

    def restart(self, container: Container) -> None:
        """The container runs anew: what it has said is the previous log."""
        before = self._logs.get(container, _Log())
        log = self._logs[container] = _Log()
        log.previous = before.lines
        before.over = True
        before.tell()

    def end(self, container: Container) -> None:
        log = self._logs.setdefault(container, _Log())
        log.over = True
        log.tell()

    def remove(self, namespace: str, pod: str) -> None:
        for container in [one for one in self._logs if one[:2] == (namespace, pod)]:
            self.end(container)
            del self._logs[container]

    async def __call__(self, scope: Mapping[str, Any], receive: Callable[[], Awaitable[Any]], send: Send) -> None:
        await receive()
        word, *path = scope["path"].strip("/").split("/")
        log = self._logs.get(Container(*path)) if word == "containerLogs" and len(path) == 3 else None
        if log is None:
            text = f'container "{path[-1]}" in pod "{path[-2]}" is waiting to start: ContainerCreating'
            await send({"type": "http.response.start", "status": 400, "headers": []})
            await send({"type": "http.response.body", "body": text.encode()})
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        asked = dict(parse_qsl(scope["query_string"].decode()))
        gone = asyncio.ensure_future(receive())
        try:
            await _tell(log, asked, gone, send)
        finally:
            gone.cancel()
        await send({"type": "http.response.body", "body": b""})


async def _tell(log: _Log, asked: Mapping[str, str], gone: "asyncio.Future[Any]", send: Send) -> None:
    times, sent = asked.get("timestamps") == "true", 0
    since = asked.get("sinceTime", "")[:19]  # a real server cuts it to whole seconds
    while not gone.done():
        news, over = log.news, log.over
        lines = log.previous if asked.get("previous") == "true" else log.lines
        fresh = "".join(f"{now} {line}\n" if times else f"{line}\n" for now, line in lines[sent:] if now[:19] >= since)
        sent = len(lines)
        if fresh:
            await send(
                {"type": "http.response.body", "body": fresh.encode(errors="surrogateescape"), "more_body": True}
            )
        if over or asked.get("follow") != "true":
            return
        waiting = asyncio.ensure_future(news.wait())
        await asyncio.wait([waiting, gone], return_when="FIRST_COMPLETED")
        waiting.cancel()


@asynccontextmanager
async def node_logs(folder: Path) -> AsyncIterator[NodeLogs]:
    """A node's logs, served on a free port of loopback. ``folder`` takes its certificate."""
    logs = NodeLogs()
    certificate, key = _certificate(folder)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        logs.port = listener.getsockname()[1]
        options: dict[str, Any] = {"ssl_certfile": certificate, "ssl_keyfile": key, "timeout_graceful_shutdown": 1}
        server = uvicorn.Server(uvicorn.Config(logs, log_level="critical", lifespan="off", **options))
        server.capture_signals = nullcontext  # type: ignore[method-assign, assignment]
        task = asyncio.create_task(server.serve([listener]))
        try:
            yield logs
        finally:
            server.should_exit = True
            await task


def _certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "node")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "node.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "node.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
    return folder / "node.crt", folder / "node.key"
