"""Where a server may call on behalf of users: the public internet, and what its settings add. Nothing inside.

Decided by the address that is connected to, not by the name: names lie, and change between a check and a call.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias
from urllib.parse import quote, unquote, urlsplit

from alula.core.errors import Invalid

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_PORTS = {"http": 80, "https": 443}
_LONGEST = 8000  # characters
_PRINTABLE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '\\"<>^`{|}')
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252}[A-Za-z0-9_.])?")
_SHARED = ipaddress.ip_network("100.64.0.0/10")
_INSIDE: tuple[Network, ...] = (  # beyond what `ipaddress` calls special
    ipaddress.ip_network("0.0.0.0/8"),  # this host
    ipaddress.ip_network("192.0.0.0/24"),  # Oracle's metadata, among others
    ipaddress.ip_network("168.63.129.16/32"),  # Azure's hosts: a public address that is none
    ipaddress.ip_network("64:ff9b:1::/48"),  # translated locally
)
_WRAPPED = (  # IPv6 networks whose addresses carry one of IPv4, and where its first bit is
    (ipaddress.IPv6Network("64:ff9b::/96"), 96),  # NAT64
    (ipaddress.IPv6Network("2002::/16"), 16),  # 6to4
    (ipaddress.IPv6Network("::/96"), 96),  # IPv4-compatible
)


@dataclass(frozen=True, slots=True)
class Destination:
    """A URL taken apart. Only ``shown`` is for logs and messages: paths and queries of webhooks are secrets."""

    secure: bool
    host: str
    port: int
    target: str = field(repr=False)  # path and query
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @property
    def scheme(self) -> str:
        return "https" if self.secure else "http"

    @property
    def authority(self) -> str:
        """Host and port as the header Host has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def shown(self) -> str:
        return f"{self.scheme}://{self.authority}"


def destination(url: str) -> Destination:
    """Take a URL apart. What a URL can not have in its path or query is percent-encoded.

    Raises:
        Invalid: it is no absolute http or https URL. The message does not repeat it.
    """
    if len(url) > _LONGEST:
        raise Invalid(f"the URL is longer than {_LONGEST} characters")
    try:
        parts = urlsplit(quote(url, safe=_PRINTABLE))
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise Invalid("the URL's host or port is not one") from None
    if parts.scheme not in _PORTS:
        raise Invalid("the URL has to begin with http:// or https://")
    if not (_address(host) if ":" in host and "%" not in host else _NAME.fullmatch(host)):
        raise Invalid("the URL's host is not a name or an address; write international names in their xn-- form")
    return Destination(
        secure=parts.scheme == "https",
        host=host,
        port=_PORTS[parts.scheme] if port is None else port,
        target=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
    )


@dataclass(frozen=True, slots=True)
class Reach:
    """What may be called beside the public internet: named hosts, networks, or every private network."""

    hosts: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()
    private: bool = False

    def permits(self, host: str, address: str) -> bool:
        """Whether a connection to ``address`` may be made for ``host``."""
        found = _address(address)
        if found is None:
            return False
        plain = _unwrapped(found)
        if host.lower().rstrip(".") in self.hosts or any(ip in net for net in self.networks for ip in (found, plain)):
            return True
        if _never(plain):
            return False
        return plain.is_global or (self.private and (plain.is_private or plain in _SHARED))


def reach(entries: Iterable[str], *, private: bool) -> Reach:
    """Settings as a `Reach`: each entry is a host, an address, or a network like ``10.1.0.0/16``.

    Raises:
        Invalid: an entry is none of these.
    """
    hosts, networks = set(), []
    for entry in entries:
        try:
            networks.append(ipaddress.ip_network(entry, strict=False))
        except ValueError:
            if not _NAME.fullmatch(entry):
                raise Invalid(f"{entry!r} is not a host, an address or a network (10.1.0.0/16)") from None
            hosts.add(entry.lower().rstrip("."))
    return Reach(frozenset(hosts), tuple(networks), private)


def _address(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None


def _unwrapped(address: Address) -> Address:
    """The IPv4 address that one of IPv6 stands for, if it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    for network, bit in _WRAPPED:
        if address in network and int(address) > 1:
            return ipaddress.IPv4Address((int(address) >> (96 - bit)) & 0xFFFFFFFF)
    return address


def _never(address: Address) -> bool:
    """Addresses that only an entry for them opens: of this link, of many, of nobody, and where clouds keep secrets."""
    if address.is_loopback:
        return False
    special = address.is_link_local or address.is_multicast or address.is_unspecified or address.is_reserved
    site = isinstance(address, ipaddress.IPv6Address) and (address.is_site_local or address.teredo is not None)
    return special or site or any(address in network for network in _INSIDE)
