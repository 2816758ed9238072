"""Sends webhooks: to the address that was checked, once, without following redirects or reading what is answered."""

import asyncio
import base64
import socket
import ssl
from collections.abc import Iterable
from functools import cached_property
from typing import Any

import httpcore

from alula import __version__
from alula.core.destination import Destination, Reach
from alula.core.errors import Denied
from alula.core.message import Request
from alula.core.notice import Doubtful, Outcome, Postponed, Refused, answered

_CONNECT = 10.0  # seconds, of which resolving the name is a part
_ANSWER = 20.0  # seconds
_TOTAL = 45.0  # seconds
_TIMEOUTS = {"connect": _CONNECT, "read": _ANSWER, "write": _ANSWER, "pool": _CONNECT}


class Webhooks:
    """A sender of webhooks. It asks no proxy: that would resolve names again, and call whom it likes."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach

    async def send(self, request: Request) -> Outcome:
        """Send one request; every way that it can end is an outcome."""
        network = _Checked(self._reach)
        try:
            async with asyncio.timeout(_TOTAL):
                status, wait = await self._exchange(request, network)
        except Denied as refusal:
            return Refused(str(refusal))
        except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
            return Postponed(f"it cannot be reached ({_named(error)})")
        except (httpcore.LocalProtocolError, UnicodeError) as error:
            return Refused(f"it is no request that can be sent: {error}")
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, TimeoutError) as error:
            if not network.connected:
                return Postponed(f"it cannot be reached ({_named(error)})")
            return Doubtful(f"it was sent, and there was no answer ({_named(error)})")
        return answered(status, wait)

    async def _exchange(self, request: Request, network: "_Checked") -> tuple[int, float]:
        to = request.to
        url = httpcore.URL(
            scheme=to.scheme.encode(), host=to.host.encode("ascii"), port=to.port, target=to.target.encode("ascii")
        )
        context = self._tls if to.secure else None
        async with (
            httpcore.AsyncConnectionPool(context, max_keepalive_connections=0, network_backend=network) as pool,
            pool.stream(
                request.method,
                url,
                headers=_headers(request),
                content=request.body,
                extensions={"timeout": _TIMEOUTS},
            ) as response,
        ):
            return response.status, _seconds(dict(response.headers).get(b"Retry-After", b""))

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return httpcore.default_ssl_context()


class _Checked(httpcore.AsyncNetworkBackend):
    """Connects to addresses that may be called, and to no others, whatever a name resolves to."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._network = httpcore.AnyIOBackend()
        self.connected = False

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await _resolved(host, port)
        allowed = [address for address in addresses if self._reach.permits(host, address)]
        if not allowed:
            raise Denied(
                f"{host} is {', '.join(addresses[:3])}: an address that webhooks may not call. "
                "The server's settings can allow it (notifications.allow)"
            )
        for address in allowed[:-1]:
            try:
                return await self._connect(address, port, _CONNECT / len(allowed))
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._connect(allowed[-1], port, _CONNECT / len(allowed))

    async def _connect(self, address: str, port: int, timeout: float) -> httpcore.AsyncNetworkStream:
        stream = await self._network.connect_tcp(address, port, timeout=timeout)
        self.connected = True
        return stream


async def _resolved(host: str, port: int) -> list[str]:
    try:
        async with asyncio.timeout(_CONNECT):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError) as error:
        raise httpcore.ConnectError(f"the name {host} cannot be resolved") from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _headers(request: Request) -> list[tuple[bytes, bytes]]:
    ours = [("Host", request.to.authority), ("User-Agent", f"alula/{__version__}"), ("Connection", "close")]
    given = {name.lower() for name, _ in request.headers}
    if request.to.user and "authorization" not in given:
        ours.append(("Authorization", _basic(request.to)))
    both = [*((name, value) for name, value in ours if name.lower() not in given), *request.headers]
    return [(name.encode("ascii"), value.encode()) for name, value in both]


def _basic(to: Destination) -> str:
    return "Basic " + base64.b64encode(f"{to.user}:{to.password}".encode()).decode()


def _seconds(retry_after: bytes) -> float:
    """A Retry-After in seconds; the form with a date is rare, and counts as none."""
    return float(retry_after) if retry_after.isdigit() and len(retry_after) < 6 else 0.0


def _named(error: Exception) -> str:
    return str(error) or type(error).__name__
