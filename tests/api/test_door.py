"""Who may speak to the server, and what it says of its health."""

import socket
from collections.abc import Iterator

import httpx
import pytest

from tests.api.served import Served

RPC = "/flyteidl2.auth.IdentityService/UserInfo"
PATHS = [
    ("POST", RPC),
    ("GET", "/alula/an/object"),
    ("PUT", "/alula/an/object"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
]


@pytest.fixture(params=["http1", "h2c"])
def client(request: pytest.FixtureRequest, served: Served) -> Iterator[httpx.Client]:
    h2 = request.param == "h2c"
    with httpx.Client(base_url=served.url, http1=not h2, http2=h2) as made:
        yield made


def ask(client: httpx.Client, method: str, path: str, headers: dict[str, str]) -> httpx.Response:
    return client.request(method, path, json={} if method == "POST" else None, headers=headers)


@pytest.mark.parametrize(("method", "path"), PATHS)
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:30080", "localhost.evil.example", "169.254.169.254", "0"]
)
def test_a_foreign_host_is_refused(client: httpx.Client, method: str, path: str, host: str) -> None:
    """Case O1."""
    response = ask(client, method, path, {"host": host})
    assert response.status_code == 403
    assert response.json()["code"] == "permission_denied"
    assert "answers on localhost only" in response.json()["message"]


@pytest.mark.parametrize(("method", "path"), PATHS)
@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost:1", "http://[::1", "localhost", "", "http://"]
)
def test_a_foreign_origin_is_refused(client: httpx.Client, method: str, path: str, origin: str) -> None:
    """Case O1."""
    response = ask(client, method, path, {"origin": origin})
    assert response.status_code == 403
    assert "only pages of this server itself" in response.json()["message"]


@pytest.mark.parametrize("name", ["localhost", "LOCALHOST", "127.0.0.1", "[::1]"])
def test_every_name_of_this_machine_is_served(client: httpx.Client, served: Served, name: str) -> None:
    host = f"{name}:{served.port}"
    for headers in ({"host": host}, {"host": host, "origin": f"http://{host}"}):
        assert ask(client, "POST", RPC, headers).status_code == 200
        for path in ("/healthz", "/readyz"):
            assert ask(client, "GET", path, headers).status_code == 200
        assert ask(client, "GET", "/alula/an/object", headers).status_code == 403  # unsigned, says the store
        assert "AccessDenied" in ask(client, "GET", "/alula/an/object", headers).text


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_both_loopback_addresses_are_listened_on(served: Served) -> None:
    for address in ("127.0.0.1", "[::1]"):
        assert httpx.get(f"http://{address}:{served.port}/healthz").json()["message"] == "alula is alive"


def test_signed_urls_lead_to_where_the_caller_is(served: Served) -> None:
    body = {"project": "flytesnacks", "domain": "development", "contentMd5": "A" * 22 + "==", "filename": "f"}
    for host in ("localhost", "127.0.0.1"):
        url = f"http://{host}:{served.port}"
        answer = httpx.post(f"{url}/flyteidl2.dataproxy.DataProxyService/CreateUploadLocation", json=body)
        assert answer.json()["signedUrl"].startswith(f"{url}/alula/")


def test_the_front_door(served: Served) -> None:
    assert "no console yet" in httpx.get(served.url).text
    assert httpx.get(f"{served.url}/v2/runs").status_code == 404


def test_readiness_tells_of_an_unusable_store(served: Served) -> None:
    """Case O27."""
    objects = served.home / "objects"
    aside = served.home / "aside"
    objects.rename(aside)
    objects.write_text("in the way")
    try:
        response = httpx.get(f"{served.url}/readyz")
        assert response.status_code == 503
        assert response.json()["code"] == "unavailable"
        assert response.json()["message"]
        assert httpx.get(f"{served.url}/healthz").status_code == 200
    finally:
        objects.unlink()
        aside.rename(objects)
    assert httpx.get(f"{served.url}/readyz").status_code == 200
