"""Where webhooks may go: taken apart as it is connected to, and decided by the address."""

import pytest

from alula.core.destination import Reach, destination, reach
from alula.core.errors import Invalid

PUBLIC = ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
INSIDE = [
    "127.0.0.1",
    "127.255.255.254",
    "::1",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "fc00::1",
    "fd12:3456::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::a00:1",  # NAT64 of 10.0.0.1
    "2002:7f00:1::",  # 6to4 of 127.0.0.1
]
NEVER = [
    "0.0.0.0",
    "0.1.2.3",
    "::",
    "169.254.169.254",  # metadata
    "fe80::1",
    "fe80::1%eth0",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "168.63.129.16",
    "192.0.0.192",
    "224.0.0.1",
    "ff02::1",
    "255.255.255.255",
    "240.0.0.1",
    "fec0::1",
    "2001:0:7f00:1::1",  # Teredo
    "64:ff9b:1::1",
    "no address",
    "",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_may_be_called(address: str) -> None:
    assert Reach().permits("example.com", address)


@pytest.mark.parametrize("address", INSIDE + NEVER)
def test_others_may_not(address: str) -> None:
    assert not Reach().permits("example.com", address)


@pytest.mark.parametrize("address", PUBLIC + INSIDE)
def test_private_networks_may_be_allowed_as_a_whole(address: str) -> None:
    assert Reach(private=True).permits("example.com", address)


@pytest.mark.parametrize("address", NEVER)
def test_but_what_no_webhook_is_for_only_by_name(address: str) -> None:
    assert not Reach(private=True).permits("example.com", address)


@pytest.mark.parametrize(
    ("entries", "host", "address", "allowed"),
    [
        (["10.1.0.0/16"], "x", "10.1.2.3", True),
        (["10.1.0.0/16"], "x", "::ffff:10.1.2.3", True),
        (["10.1.0.0/16"], "x", "10.2.2.3", False),
        (["127.0.0.1"], "x", "127.0.0.1", True),
        (["127.0.0.1"], "x", "127.0.0.2", False),
        (["hooks.internal"], "hooks.internal", "10.2.2.3", True),
        (["Hooks.Internal."], "hooks.internal.", "10.2.2.3", True),
        (["hooks.internal"], "evil.hooks.internal", "10.2.2.3", False),
        (["169.254.169.254"], "x", "169.254.169.254", True),
        (["fd00::/8"], "x", "fd00::1", True),
        ([], "localhost", "127.0.0.1", False),
    ],
)
def test_settings_add_hosts_and_networks(entries: list[str], host: str, address: str, allowed: bool) -> None:
    assert reach(entries, private=False).permits(host, address) is allowed


@pytest.mark.parametrize("entry", ["http://x", "10.0.0.0/33", "a b", ""])
def test_an_entry_that_is_nothing_is_refused(entry: str) -> None:
    with pytest.raises(Invalid, match="not a host"):
        reach([entry], private=False)


@pytest.mark.parametrize(
    ("url", "host", "port", "target"),
    [
        ("https://hooks.example.com/a/b?c=d#e", "hooks.example.com", 443, "/a/b?c=d"),
        ("HTTP://EXAMPLE.com", "example.com", 80, "/"),
        ("http://[::1]:8080/x", "::1", 8080, "/x"),
        ("http://2130706433/", "2130706433", 80, "/"),  # resolved later, and judged by what that gives
        ("http://example.com/a b\r\nX: y", "example.com", 80, "/a%20b%0D%0AX:%20y"),
        ("http://example.com/%7Bx%7D?é", "example.com", 80, "/%7Bx%7D?%C3%A9"),
        ("http://user:p%40ss@example.com/", "example.com", 80, "/"),
    ],
)
def test_urls_are_taken_apart(url: str, host: str, port: int, target: str) -> None:
    found = destination(url)
    assert (found.host, found.port, found.target) == (host, port, target)


def test_secrets_of_urls_are_in_no_repr() -> None:
    found = destination("https://user:secret1@hooks.slack.com/services/secret2?secret3")
    assert (found.user, found.password) == ("user", "secret1")
    assert "secret" not in repr(found) + found.shown
    assert found.shown == "https://hooks.slack.com"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "//example.com",
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "unix:///run/docker.sock",
        "http://",
        "http:///x",
        "http://exa mple.com/",
        "http://exämple.com/",
        "http://example.com:99999/",
        "http://example.com:x/",
        "http://[::1/",
        "http://[::1%25eth0]/",
        "http://{{.Host}}/",
        "http://-a/",
        "http://" + "a" * 300 + "/",
        "http://example.com/" + "a" * 9000,
    ],
)
def test_what_is_no_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(Invalid) as refusal:
        destination(url)
    assert not url or url not in str(refusal.value)
