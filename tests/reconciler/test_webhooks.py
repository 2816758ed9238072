"""Webhooks: sent once, to the address that was checked and no other."""

import asyncio
import datetime
import socket
import ssl
from pathlib import Path
from typing import Any

import httpcore
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from alula.core.destination import Reach, destination, reach
from alula.core.message import Request
from alula.core.notice import Delivered, Doubtful, Outcome, Postponed, Refused
from alula.reconciler import webhooks
from alula.reconciler.webhooks import Webhooks

from .receivers import hooks, status

HERE = reach(["127.0.0.1"], private=False)


def request(url: str, **headers: str) -> Request:
    return Request(destination(url), "POST", tuple(headers.items()), b'{"x": 1}')


async def send(url: str, allowed: Reach = HERE) -> Outcome:
    return await Webhooks(allowed).send(request(url))


def resolving(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Names resolve to these addresses, one list after the other; the names that were asked for."""
    asked: list[str] = []

    async def getaddrinfo(self: Any, host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        if host == "127.0.0.1":
            found = [host]
        elif len(asked) > len(answers):
            raise socket.gaierror("no such name")
        else:
            found = answers[len(asked) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    return asked


async def test_it_arrives_as_it_was_made() -> None:
    async with hooks() as receiver:
        made = request(f"{receiver.url}/a%20b?c=d", **{"X-Name": "é", "Idempotency-Key": "k"})
        assert await Webhooks(HERE).send(made) == Delivered()
    (got,) = receiver.got
    assert (got.method, got.path, got.body) == ("POST", "/a%20b?c=d", b'{"x": 1}')
    assert got.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert got.headers["idempotency-key"] == "k"
    assert got.headers["x-name"].encode("latin-1").decode() == "é"
    assert got.headers["user-agent"].startswith("alula/")
    assert "authorization" not in got.headers


async def test_a_urls_user_and_password_are_sent_as_such() -> None:
    async with hooks() as receiver:
        url = receiver.url.replace("http://", "http://user:p%40ss@")
        assert await send(url) == Delivered()
    assert receiver.got[0].headers["authorization"] == "Basic dXNlcjpwQHNz"
    assert receiver.got[0].path == "/"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "0",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "user@127.0.0.1",
    ],
)
async def test_this_machine_is_not_called_however_it_is_spelled(host: str) -> None:
    async with hooks() as receiver:
        outcome = await send(f"http://{host}:{receiver.port}/", Reach())
        assert isinstance(outcome, Refused | Postponed), outcome  # postponed: this system does not resolve it
        assert receiver.connections == 0


async def test_the_refusal_says_what_to_do_and_nothing_secret() -> None:
    outcome = await send("http://user:secret@127.0.0.1:9/secret?secret", Reach())
    assert isinstance(outcome, Refused)
    assert "127.0.0.1" in outcome.reason
    assert "notifications.allow" in outcome.reason
    assert "secret" not in outcome.reason


async def test_a_name_of_a_private_address_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, ["10.0.0.1"])
    assert isinstance(await send("http://hook.example/", Reach()), Refused)


async def test_the_address_that_was_checked_is_the_one_that_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that resolves to something else the second time is asked for once only."""
    async with hooks() as receiver:
        asked = resolving(monkeypatch, ["10.0.0.1", "127.0.0.1"], ["10.0.0.1"])
        outcome = await send(f"http://hook.example:{receiver.port}/")
    assert outcome == Delivered()
    assert [host for host in asked if host == "hook.example"] == ["hook.example"]
    assert receiver.got[0].headers["host"] == f"hook.example:{receiver.port}"


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(code: int) -> None:
    async with hooks() as receiver, hooks() as inside:
        receiver.answers = [status(code, f"Location: {inside.url}/")]
        outcome = await send(receiver.url)
    assert isinstance(outcome, Refused)
    assert "redirects are not followed" in outcome.reason
    assert (len(receiver.got), inside.connections) == (1, 0)


async def test_proxies_of_the_environment_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async with hooks() as receiver, hooks() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        assert await send(receiver.url) == Delivered()
    assert (len(receiver.got), proxy.connections) == (1, 0)


async def _endless(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()


async def _hang_up(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def _garbage(writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-OpenSSH\r\n\r\n")
    await writer.drain()


async def _long_head(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nX: " + b"x" * (1 << 20))
    await writer.drain()


async def _silence(writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def test_an_endless_answer_is_not_read() -> None:
    async with asyncio.timeout(10), hooks() as receiver:
        receiver.answers = [_endless]
        assert await send(receiver.url) == Delivered()


@pytest.mark.parametrize("answer", [_hang_up, _garbage, _long_head])
async def test_what_was_sent_and_not_answered_is_doubtful(answer: Any) -> None:
    async with asyncio.timeout(10), hooks() as receiver:
        receiver.answers = [answer]
        assert isinstance(await send(receiver.url), Doubtful)
        assert len(receiver.got) == 1


async def test_silence_is_doubtful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "_TOTAL", 0.2)
    async with hooks() as receiver:
        receiver.answers = [_silence]
        assert isinstance(await send(receiver.url), Doubtful)
        assert len(receiver.got) == 1


async def test_what_cannot_be_reached_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with hooks() as receiver:
        port = receiver.port
    assert isinstance(await send(f"http://127.0.0.1:{port}/"), Postponed)
    resolving(monkeypatch)
    assert isinstance(await send("http://nowhere.example/"), Postponed)


async def test_a_receiver_says_how_long_to_wait() -> None:
    async with hooks() as receiver:
        receiver.answers = [status(429, "Retry-After: 7"), status(503, "Retry-After: Wed, 21 Oct 2015 07:28:00 GMT")]
        assert await send(receiver.url) == Postponed("it answered 429", 7.0)
        assert await send(receiver.url) == Postponed("it answered 503", 0.0)


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context for a name, and a client's that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    return server, ssl.create_default_context(cafile=str(file))


@pytest.mark.parametrize(
    ("host", "outcome"), [("hook.example", Delivered), ("other.example", Postponed)], ids=["right", "wrong"]
)
async def test_a_certificate_is_checked_for_the_name_not_the_address(
    host: str, outcome: type[Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, client = certificate(tmp_path, "hook.example")
    monkeypatch.setattr(httpcore, "default_ssl_context", lambda: client)
    async with hooks(tls=server) as receiver:
        resolving(monkeypatch, ["127.0.0.1"])
        assert isinstance(await send(f"https://{host}:{receiver.port}/"), outcome)
        assert len(receiver.got) == (outcome is Delivered)


async def test_a_certificate_nobody_vouches_for_is_not_trusted(tmp_path: Path) -> None:
    server, _ = certificate(tmp_path, "localhost")
    async with hooks(tls=server) as receiver:
        allowed = reach(["localhost"], private=False)
        assert isinstance(await send(f"https://localhost:{receiver.port}/", allowed), Postponed)
        assert receiver.got == []
