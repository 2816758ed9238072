"""Requests to one cluster: where it is, TLS, who asks, connections that are used again, and how long anything may take.

lightkube reads what a kubeconfig says; aiohttp speaks HTTP: a request costs it a fifth of the CPU that it costs httpx2.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Self
from urllib.parse import SplitResult, urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from lightkube.config.client_adapter import verify_cluster
from lightkube.config.kubeconfig import SingleConfig
from lightkube.config.models import User
from lightkube.core.exceptions import ConfigError
from yarl import URL

from alula.kube.objects import Busy
from alula.kube.proof import Proof, proof

_MOST = 500  # characters of what a library says
_ALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}  # a peer that is gone is missed after a minute
_WHOLE = aiohttp.ClientTimeout(total=30.0)
_STREAM = aiohttp.ClientTimeout(total=None, sock_connect=30.0, sock_read=330.0)  # silent for so long, it is dead

Answer = aiohttp.ClientResponse


class Http:
    """In an ``async with``. How many requests there are at once is for the callers to bound.

    A GET, PUT or DELETE on a connection that the cluster has meanwhile closed is asked once more (RFC 9110, 9.2.2).
    While the cluster is silent one request at a time waits for it, and the others fail at once: who asks may have other
    things to do.
    """

    def __init__(self, server: str, tls: ssl.SSLContext, who: Proof, proxy: str | None = None) -> None:
        self._server = server.rstrip("/")
        self._tls, self._who, self._proxy = tls, who, proxy
        self._session: aiohttp.ClientSession | None = None
        self._fresh: aiohttp.ClientSession | None = None  # one connection for each request: old ones may lead nowhere
        self._silent = False  # the last that was waited for did not come in time
        self._waiting = asyncio.Lock()  # of the one who waits nevertheless

    @classmethod
    def of(cls, config: SingleConfig) -> Self:
        """Requests as a kubeconfig has them.

        Raises:
            ConfigError, OSError, ValueError: they cannot be made so.
        """
        cluster, user = config.cluster, config.user
        server = urlsplit(cluster.server)
        if server.scheme not in ("http", "https") or not server.hostname or "@" in server.netloc:
            raise ConfigError("the server of a cluster is an http or https URL without a user")
        tls = verify_cluster(cluster, user or User(), config.abs_file)
        return cls(cluster.server, tls, proof(user, config.abs_file), _proxy(server))

    async def __aenter__(self) -> Self:
        self._session, self._fresh = self._opened(once=False), self._opened(once=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        for session in (self._session, self._fresh):
            if session is not None:
                await session.close()

    def _opened(self, *, once: bool) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._tls, limit=0, socket_factory=_socket, force_close=once),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept": "application/json", "User-Agent": "alula"},
            proxy=self._proxy,
        )

    @asynccontextmanager
    async def ask(
        self, method: str, path: str, asked: Mapping[str, str], body: tuple[str, bytes] | None = None, *, long: bool
    ) -> AsyncIterator[Answer]:
        """The answer, once it has begun; whatever its status is. ``body`` with its media type.

        A ``long`` one may take as long as it wants, if something of it comes every now and then.

        Raises:
            Busy: there is none, or it was cut.
        """
        answer = None
        try:
            answer = await self._heard(partial(self._send, method, path, asked, body, long), long)
            yield answer
        except ConfigError as error:
            raise Busy(f"the cluster cannot be asked: {error}"[:_MOST]) from None
        except (aiohttp.ClientError, OSError) as error:  # a TimeoutError is an OSError
            what = "does not answer" if answer is None else "has stopped answering"
            raise Busy(f"the cluster {what}: {_brief(error)}"[:_MOST]) from None
        finally:
            if answer is not None:
                answer.release()

    async def _heard(self, send: Callable[[aiohttp.ClientSession], Awaitable[Answer]], long: bool) -> Answer:
        """The answer to what is sent. What is ``long`` says little of the cluster: a node may be what is silent.

        Raises:
            Busy: nothing is heard of the cluster, and somebody else waits for it already.
        """
        assert self._session is not None, "it is used in an `async with`"
        assert self._fresh is not None
        if self._silent and self._waiting.locked():
            raise Busy("the cluster does not answer: another request waits for it")
        if self._silent and not long:
            async with self._waiting:
                answer = await send(self._fresh)
        else:
            try:
                answer = await send(self._session)
            except TimeoutError:
                self._silent = self._silent or not long
                raise
        self._silent = False
        return answer

    async def _send(
        self,
        method: str,
        path: str,
        asked: Mapping[str, str],
        body: tuple[str, bytes] | None,
        long: bool,
        session: aiohttp.ClientSession,
    ) -> Answer:
        url = URL(f"{self._server}{path}" + (f"?{urlencode(asked)}" if asked else ""), encoded=True)
        form, data = body or ("", None)
        headers = {"Content-Type": form} if form else {}
        last = False
        while True:
            if who := await self._who.header():
                headers["Authorization"] = who
            answer = await session.request(
                method, url, data=data, headers=headers, allow_redirects=False, timeout=_STREAM if long else _WHOLE
            )
            if answer.status != 401 or last or not await self._renewed(answer, who):
                return answer
            last = True  # a program that tells another token each time is not asked for ever

    async def _renewed(self, answer: Answer, refused: str) -> bool:
        """Whether there is something else to prove who asks with; then the answer is done with."""
        try:
            renewed = await self._who.renewed(refused)
        except BaseException:
            answer.release()
            raise
        if renewed:
            answer.release()
        return renewed


def _socket(
    address: tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[object, ...]],
) -> socket.socket:
    """One that notices when nobody is there any more: a watch says nothing by itself."""
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _ALIVE.items():
        if hasattr(socket, option):  # not every system has each
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return made


def _proxy(server: SplitResult) -> str | None:
    """The proxy that the environment names for a server.

    Raises:
        ConfigError: it is of a kind that is not known here.
    """
    proxies = getproxies()
    host = f"{server.hostname}:{server.port}" if server.port else server.hostname or ""
    proxy = None if proxy_bypass(host) else proxies.get(server.scheme) or proxies.get("all")
    if proxy and urlsplit(proxy).scheme not in ("http", "https"):
        raise ConfigError("the proxy that the environment names for it is no http or https URL; or name it in no_proxy")
    return proxy or None


def _brief(error: Exception) -> str:
    """What went wrong, without the URL of a proxy: that may have a password."""
    told = f"HTTP {error.status} {error.message}" if isinstance(error, aiohttp.ClientResponseError) else str(error)
    return f"{type(error).__name__} {told}".strip()
