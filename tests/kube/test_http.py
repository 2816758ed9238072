"""How requests reach a cluster, against servers that do what no good one does."""

import asyncio
import base64
import datetime as dt
import ssl
import sys
from collections.abc import Iterator
from contextlib import aclosing
from ipaddress import ip_address
from pathlib import Path

import aiohttp
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from alula.kube import http
from alula.kube.client import Kube
from alula.kube.objects import PODS, Busy, KubeError, Name, Object, Selection
from tests.kube.raw import Asked, raw, said

POD = Name("default", "one")
FINE = said(b'{"metadata":{"name":"one"}}')
DENIED = said(b'{"message":"Unauthorized","reason":"Unauthorized"}', "401 Unauthorized")


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def config(folder: Path, url: str, user: Object, **cluster: object) -> Path:
    """A kubeconfig."""
    value = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": url, **cluster}}],
        "users": [{"name": "u", "user": user}],
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(value))
    return path


def program(path: Path, text: str) -> Object:
    """A user whose token a program tells."""
    path.write_text(text)
    api = "client.authentication.k8s.io/v1"
    env = [{"name": "MINE", "value": "set"}]
    return {"exec": {"apiVersion": api, "command": sys.executable, "args": [str(path)], "env": env}}


@pytest.mark.parametrize(
    ("user", "header"),
    [
        ({}, ""),
        ({"token": "t1"}, "Bearer t1"),
        ({"token": "old", "tokenFile": "token"}, "Bearer in-file"),
        ({"username": "me", "password": "pw"}, "Basic " + base64.b64encode(b"me:pw").decode()),
    ],
)
async def test_who_asks_is_proved_as_the_kubeconfig_has_it(user: Object, header: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("in-file\n")  # beside the kubeconfig: that is where its paths begin
    async with raw(lambda _: FINE) as server, Kube.connect(config(tmp_path, server.url, user)) as kube:
        await kube.get(PODS, POD)
    assert [one.headers.get("authorization", "") for one in server.asked] == [header]


async def test_a_token_file_is_read_again_when_its_token_is_not_taken_any_more(tmp_path: Path) -> None:
    good = ["first"]

    def answer(asked: Asked) -> bytes:
        return FINE if asked.headers["authorization"] == f"Bearer {good[-1]}" else DENIED

    (tmp_path / "token").write_text("first")
    async with raw(answer) as server, Kube.connect(config(tmp_path, server.url, {"tokenFile": "token"})) as kube:
        await kube.get(PODS, POD)
        good.append("second")
        with pytest.raises(Busy):  # the file is late
            await kube.get(PODS, POD)
        (tmp_path / "token").write_text("second")
        await asyncio.gather(*(kube.get(PODS, POD) for _ in range(5)))
        (tmp_path / "token").write_text("third")
        await kube.get(PODS, POD)  # not looked at while the token is good
        (tmp_path / "token").write_bytes(b"caf\xc3\xa9-secret")
        good.append("third")
        with pytest.raises(Busy, match="characters") as error:
            await kube.get(PODS, POD)
        assert "secret" not in str(error.value)
        (tmp_path / "token").unlink()
        with pytest.raises(Busy, match="cannot be read: No such file"):
            await kube.get(PODS, POD)


async def test_a_program_tells_the_token_once_and_anew_when_it_has_expired(tmp_path: Path) -> None:
    text = """
import json, os, pathlib, sys
asked = json.loads(os.environ["KUBERNETES_EXEC_INFO"])
assert asked["kind"] == "ExecCredential" and os.environ["MINE"] == "set"
counter = pathlib.Path(__file__).with_name("counter")
count = int(counter.read_text()) + 1 if counter.exists() else 1
counter.write_text(str(count))
print(json.dumps({"kind": "ExecCredential", "status": {"token": f"token-{count}"}}))
"""
    good = {"Bearer token-1"}
    user = program(tmp_path / "tell.py", text)

    def answer(asked: Asked) -> bytes:
        return FINE if asked.headers["authorization"] in good else DENIED

    async with raw(answer) as server, Kube.connect(config(tmp_path, server.url, user)) as kube:
        await asyncio.gather(*(kube.get(PODS, POD) for _ in range(5)))
        assert (tmp_path / "counter").read_text() == "1"
        good.clear()
        good.add("Bearer token-2")
        await asyncio.gather(*(kube.get(PODS, POD) for _ in range(5)))
        assert (tmp_path / "counter").read_text() == "2"
        good.clear()
        before = len(server.asked)
        with pytest.raises(Busy, match="Unauthorized"):  # who has no right is told another token each time
            await kube.get(PODS, POD)
        assert len(server.asked) - before == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("print('my-secret')", "tells no token"),
        ('print(\'{"status": {"clientKeyData": "my-secret"}}\')', "tells no token"),
        ('print(\'{"status": {"token": "my-secret"}}\'); raise SystemExit(3)', "ended with 3"),
        ('print(\'{"status": {"token": "my\\\\nsecret"}}\')', "characters"),
    ],
)
async def test_what_a_program_says_instead_is_not_shown(text: str, words: str, tmp_path: Path) -> None:
    user = program(tmp_path / "tell.py", text)
    async with Kube.connect(config(tmp_path, "http://127.0.0.1:9", user)) as kube:
        with pytest.raises(Busy, match=words) as error:
            await kube.get(PODS, POD)
    assert "secret" not in f"{error.value!r}{error.value.__context__ if not error.value.__suppress_context__ else ''}"


async def test_a_program_that_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alula.kube.proof._PATIENCE", 0.2)
    user = program(tmp_path / "tell.py", "import time; time.sleep(60)")
    async with Kube.connect(config(tmp_path, "http://127.0.0.1:9", user)) as kube:
        with pytest.raises(Busy, match=r"took longer"):
            await kube.get(PODS, POD)


@pytest.mark.parametrize(
    ("user", "words"),
    [
        ({"exec": {"apiVersion": "client.authentication.k8s.io/v9", "command": "x"}}, "v9 is not known"),
        ({"auth-provider": {"name": "gcp"}}, "use exec"),
    ],
)
def test_what_cannot_prove_who_asks_is_said_at_once(user: Object, words: str, tmp_path: Path) -> None:
    with pytest.raises(KubeError, match=words):
        Kube.connect(config(tmp_path, "http://127.0.0.1:9", user))


@pytest.mark.parametrize("url", ["127.0.0.1:9", "ftp://a", "https://", "https://me:my-secret@a"])
def test_a_server_that_is_none_is_refused_and_not_shown(url: str, tmp_path: Path) -> None:
    with pytest.raises(KubeError, match="http or https") as error:
        Kube.connect(config(tmp_path, url, {"token": "t"}))
    assert "my-secret" not in str(error.value)


async def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1beta1", "command": "no-such-program"}}
    async with Kube.connect(config(tmp_path, "http://127.0.0.1:9", user)) as kube:
        with pytest.raises(Busy, match=r"no-such-program.*cannot be run"):
            await kube.get(PODS, POD)


async def test_a_certificate_proves_who_asks_and_a_strange_server_is_not_talked_to(tmp_path: Path) -> None:
    authority, server_files, client_files = certificates(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority)
    tls.load_cert_chain(*server_files)
    tls.verify_mode = ssl.CERT_REQUIRED
    data = {key: base64.b64encode(path.read_bytes()).decode() for key, path in zip("ck", client_files, strict=True)}
    users: list[Object] = [
        {"client-certificate": client_files[0].name, "client-key": client_files[1].name},
        {"client-certificate-data": data["c"], "client-key-data": data["k"]},
    ]
    async with raw(lambda _: FINE, tls) as server:
        for user in users:
            path = config(tmp_path, server.url, user, **{"certificate-authority": authority.name})
            async with Kube.connect(path) as kube:
                await kube.get(PODS, POD)
        assert [one.certificate for one in server.asked] == ["a-manager", "a-manager"]
        async with Kube.connect(config(tmp_path, server.url, users[0])) as kube:
            with pytest.raises(Busy, match="Certificate"):
                await kube.get(PODS, POD)
        without = config(tmp_path, server.url, {"token": "t"}, **{"insecure-skip-tls-verify": True})
        async with Kube.connect(without) as kube:
            with pytest.raises(Busy):
                await kube.get(PODS, POD)
    assert len(server.asked) == 2


def certificates(folder: Path) -> tuple[Path, tuple[Path, Path], tuple[Path, Path]]:
    """An authority; certificate and key of a server at 127.0.0.1, and of a client named a-manager."""
    now, root_key = dt.datetime.now(dt.UTC), ec.generate_private_key(ec.SECP256R1())
    root = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "root")])

    def signed(name: str, number: int) -> tuple[Path, Path]:
        key = root_key if name == "root" else ec.generate_private_key(ec.SECP256R1())
        building = x509.CertificateBuilder(
            issuer_name=root,
            subject_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]),
            public_key=key.public_key(),
            serial_number=number,
            not_valid_before=now - dt.timedelta(hours=1),
            not_valid_after=now + dt.timedelta(hours=1),
        ).add_extension(x509.BasicConstraints(ca=name == "root", path_length=None), critical=True)
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        made = building.add_extension(names, critical=False).sign(root_key, hashes.SHA256())
        files = folder / f"{name}.crt", folder / f"{name}.key"
        files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        files[1].write_bytes(key.private_bytes(*form))
        return files

    return signed("root", 1)[0], signed("server", 2), signed("a-manager", 3)


async def test_a_proxy_of_the_environment_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with raw(lambda _: FINE) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        async with Kube.connect(config(tmp_path, "http://a-cluster.invalid:80", {})) as kube:
            await kube.get(PODS, POD)
    assert proxy.asked[0].line == "GET http://a-cluster.invalid/api/v1/namespaces/default/pods/one HTTP/1.1"


@pytest.mark.parametrize("pattern", ["{host}", "{host}:{port}", "*"])
async def test_but_not_for_what_no_proxy_names(pattern: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with raw(lambda _: FINE) as server:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        monkeypatch.setenv("no_proxy", pattern.format(host="127.0.0.1", port=server.url.rpartition(":")[2]))
        async with Kube.connect(config(tmp_path, server.url, {})) as kube:
            await kube.get(PODS, POD)
    assert len(server.asked) == 1


async def test_the_password_of_a_proxy_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = said(b"no", "407 Proxy Authentication Required")
    async with raw(lambda _: answer) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url.replace("//", "//me:my-secret@"))
        async with Kube.connect(config(tmp_path, "https://a-cluster.invalid", {})) as kube:
            with pytest.raises(Busy, match="407") as error:
                await kube.get(PODS, POD)
    assert "my-secret" not in str(error.value)
    assert base64.b64encode(b"me:my-secret").decode() in proxy.asked[0].headers["proxy-authorization"]
    monkeypatch.setenv("https_proxy", "socks5://me:my-secret@127.0.0.1:9")
    with pytest.raises(KubeError, match="no_proxy") as error2:
        Kube.connect(config(tmp_path, "https://a-cluster.invalid", {}))
    assert "my-secret" not in str(error2.value)


async def test_a_connection_that_was_closed_meanwhile_is_replaced_where_asking_twice_does_no_harm(
    tmp_path: Path,
) -> None:
    """Each connection is closed when a second request comes. What creates is never sent twice."""
    async with (
        raw(lambda asked: b"" if asked.turn else FINE) as server,
        Kube.connect(config(tmp_path, server.url, {})) as kube,
    ):
        value: Object = {"metadata": {"name": "one", "namespace": "default"}}
        await kube.get(PODS, POD)
        await kube.get(PODS, POD)
        await kube.replace(PODS, value)
        assert await kube.delete(PODS, POD)
        before = len(server.asked)
        with pytest.raises(Busy, match="does not answer"):
            await kube.create(PODS, value)
        assert len(server.asked) == before + 1
        await kube.create(PODS, value)


async def test_a_request_that_is_cancelled_leaves_nothing_for_the_next_one(tmp_path: Path) -> None:
    half = b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"half":'
    answers: Iterator[bytes | None] = iter([None, half, FINE])
    async with raw(lambda _: next(answers)) as server, Kube.connect(config(tmp_path, server.url, {})) as kube:
        for _ in range(2):
            server.arrived.clear()
            asking = asyncio.create_task(kube.get(PODS, POD))
            await server.arrived.wait()
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
        assert (await kube.get(PODS, POD))["metadata"]["name"] == "one"
        assert [one.turn for one in server.asked] == [0, 0, 0]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 100\r\n\r\n{", "stopped answering"),
        (b"nonsense\r\n\r\n", "does not answer"),
        (said(b"<html>Log in</html>"), "no Kubernetes API"),
        (said(b"", "500 Internal Server Error"), "HTTP 500"),
        (said(b"", "429 Too Many Requests", "Retry-After: 7\r\n"), "HTTP 429"),
    ],
)
async def test_nonsense_is_busy(answer: bytes, words: str, tmp_path: Path) -> None:
    async with raw(lambda _: answer) as server, Kube.connect(config(tmp_path, server.url, {})) as kube:
        with pytest.raises(Busy) as busy:
            await kube.get(PODS, POD)
    assert words in str(busy.value)
    assert busy.value.after == (7 if "429" in words else None)


async def test_nobody_is_waited_for_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_WHOLE", aiohttp.ClientTimeout(total=0.1))
    monkeypatch.setattr(http, "_STREAM", aiohttp.ClientTimeout(sock_read=0.1))
    line = b'{"type":"ADDED","object":{"metadata":{"name":"one"}}}\n'
    begun = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + f"{len(line):x}\r\n".encode() + line + b"\r\n"
    seen = []

    async def follow(kube: Kube) -> None:
        async with aclosing(kube.watch(Selection(PODS))) as watch:
            async for _, one in watch:
                seen.append(one["metadata"]["name"])

    def answer(asked: Asked) -> bytes | None:
        return begun if "watch=true" in asked.line else None

    async with raw(answer) as server, Kube.connect(config(tmp_path, server.url, {})) as kube:
        with pytest.raises(Busy, match="does not answer"):
            await kube.get(PODS, POD)
        with pytest.raises(Busy, match="stopped answering"):
            await follow(kube)
    assert seen == ["one"]


async def test_one_at_a_time_waits_for_a_cluster_that_is_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "_WHOLE", aiohttp.ClientTimeout(total=0.1))
    silent = [True]

    async def outcome(kube: Kube) -> str:
        try:
            await kube.get(PODS, POD)
        except Busy as busy:
            return "fails at once" if "another request" in str(busy) else "has waited"
        return "answered"

    def answer(_: Asked) -> bytes | None:
        return None if silent else FINE

    async with raw(answer) as server, Kube.connect(config(tmp_path, server.url, {})) as kube:
        assert await outcome(kube) == "has waited"
        for _ in range(2):
            assert sorted(await asyncio.gather(*(outcome(kube) for _ in range(5)))) == [
                *4 * ["fails at once"],
                "has waited",
            ]
        assert len(server.asked) == 3
        silent.clear()
        assert sorted(await asyncio.gather(*(outcome(kube) for _ in range(5)))) == [
            "answered",
            *4 * ["fails at once"],
        ]
        assert await asyncio.gather(*(outcome(kube) for _ in range(5))) == 5 * ["answered"]


async def test_who_waits_for_a_silent_cluster_does_so_on_a_new_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old ones may lead nowhere, as when a load balancer has been replaced: one of them is enough to see that."""
    monkeypatch.setattr(http, "_WHOLE", aiohttp.ClientTimeout(total=0.5))

    def answer(asked: Asked) -> bytes | None:
        return FINE if asked.turn == 0 else None

    async with raw(answer) as server, Kube.connect(config(tmp_path, server.url, {})) as kube:
        await asyncio.gather(*(kube.get(PODS, POD) for _ in range(3)))
        assert [one.turn for one in server.asked] == [0, 0, 0]
        with pytest.raises(Busy, match="does not answer"):
            await kube.get(PODS, POD)
        await kube.get(PODS, POD)
        assert [one.turn for one in server.asked] == [0, 0, 0, 1, 0]


async def test_a_log_that_does_not_come_says_nothing_of_the_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "_STREAM", aiohttp.ClientTimeout(sock_read=0.1))

    def answer(asked: Asked) -> bytes | None:
        return None if "/log" in asked.line else FINE

    async with raw(answer) as server, Kube.connect(config(tmp_path, server.url, {})) as kube:
        with pytest.raises(Busy, match="does not answer"):
            await anext(kube.logs(POD, "main", follow=False))
        found = await asyncio.gather(*(kube.get(PODS, POD) for _ in range(3)))
    assert [one["metadata"]["name"] for one in found] == ["one", "one", "one"]


async def test_redirects_are_not_followed(tmp_path: Path) -> None:
    """A token is for the server that the kubeconfig names, and for nobody else."""
    async with raw(lambda _: FINE) as other:
        answer = said(b"", "302 Found", f"Location: {other.url}/\r\n")
        token: Object = {"token": "t"}
        async with raw(lambda _: answer) as server, Kube.connect(config(tmp_path, server.url, token)) as kube:
            with pytest.raises(KubeError, match="302"):
                await kube.get(PODS, POD)
    assert not other.asked
