"""The reverse proxy: requests for apps, to whichever replica takes them. One that sleeps is woken by its first."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

import httpcore
import pyqwest

from alula.api import apps_grpc
from alula.api.apps_websocket import relay
from alula.api.door import respond
from alula.control.apps import Apps
from alula.control.traffic import Backend, Traffic
from alula.core.app import LOCAL, App
from alula.core.errors import DomainError, NotFound, Unavailable
from alula.core.ingress import Address, address, host_url, location
from alula.rpc.asgi import Headers, Receive, Scope, Send

# What is said to the next hop and not to the one after it (RFC 9110 7.6.1).
_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te",
     b"trailer", b"transfer-encoding", b"upgrade"}
)  # fmt: skip
_FORWARDED = frozenset({b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-prefix"})
_TRY_AGAIN_LATER = 1013  # of the WebSocket protocol


class AppsProxy:
    """An ASGI application for every request that `core.ingress` takes for an app's. ``port``: this server's."""

    def __init__(self, apps: Apps, traffic: Traffic, port: int) -> None:
        self._apps = apps
        self._traffic = traffic
        self._port = port
        self._http = httpcore.AsyncConnectionPool(
            max_connections=None, max_keepalive_connections=64, keepalive_expiry=4.0
        )
        self._grpc = apps_grpc.GrpcCalls()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it with an error that says what to do."""
        request = _Request(scope, receive, send)
        try:
            app = await self._find(request.address)
            if request.browses and request.address.app is not None:
                await self._redirect(app, request)
                return
            if scope["type"] == "websocket":
                await self._relay(app, request, scope)
            else:
                await self._serve(app, request, self._call if apps_grpc.speaks(scope) else self._ask)
        except NotFound as error:
            await request.refuse(404, "not_found", str(error))
        except TimeoutError:
            await request.refuse(504, "deadline_exceeded", "the app did not answer in time; see `flyte get logs`")
        except DomainError as error:
            await request.refuse(503, "unavailable", str(error))
        except (httpcore.NetworkError, httpcore.ProtocolError, *apps_grpc.BROKEN) as error:
            await request.refuse(502, "unavailable", f"the app broke the connection: {error or type(error).__name__}")

    async def _find(self, asked: Address) -> App:
        app = await self._apps.at(asked)
        if app.assigned != LOCAL:
            raise Unavailable(f"app {app.id} is not served here, but on cluster {app.assigned or 'none yet'}")
        return app

    async def _redirect(self, app: App, request: "_Request") -> None:
        """A browser goes where the app has an origin of its own: its pages are not to act as this server's."""
        rest = request.target.removeprefix(request.address.prefix.encode()) or b"/"
        to = host_url(app.host, self._port).encode() + rest
        headers = [(b"location", to), (b"content-length", b"0"), (b"cache-control", b"no-store")]
        await request.send({"type": "http.response.start", "status": 307, "headers": headers})
        await request.send({"type": "http.response.body", "body": b""})

    async def _serve(self, app: App, request: "_Request", ask: "_Ask") -> None:
        """Hand a request on; the client's leaving ends it there, too."""
        answering = asyncio.create_task(self._answer(app, request, ask))
        leaving = asyncio.create_task(request.left())
        try:
            await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                answering.result()
        finally:
            answering.cancel()
            leaving.cancel()
            await asyncio.gather(answering, leaving, return_exceptions=True)

    async def _answer(self, app: App, request: "_Request", ask: "_Ask") -> None:
        """Find a replica that takes the request. One that cannot be reached has seen nothing of it: take the next."""
        deadline = asyncio.get_running_loop().time() + app.plan.timeout
        while True:
            async with self._traffic.use(app.key, deadline) as backend:
                try:
                    await ask(request, backend, deadline)
                except (httpcore.ConnectError, ConnectionError):
                    self._traffic.doubt(app.key, backend)
                    continue
                return

    async def _ask(self, request: "_Request", backend: Backend, deadline: float) -> None:
        async with asyncio.timeout_at(deadline):
            response = await self._http.handle_async_request(request.to(backend))
        try:
            await request.answer(response)
        finally:
            await response.aclose()

    async def _call(self, request: "_Request", backend: Backend, deadline: float) -> None:
        target, headers = request.forwarded()
        async with asyncio.timeout_at(deadline):
            response = await self._grpc.call(backend, target, headers, request.body())
        await request.answer_call(response)

    async def _relay(self, app: App, request: "_Request", scope: Scope) -> None:
        deadline = asyncio.get_running_loop().time() + app.plan.timeout
        async with self._traffic.use(app.key, deadline) as backend:
            target, headers = request.forwarded()
            await relay(target, headers, backend, scope, request.receive, request.send)

    async def close(self) -> None:
        """Close the connections to replicas."""
        await self._http.aclose()
        await self._grpc.close()


class _Request:
    """One request, and how far its answer is."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.send = send
        self.receive = receive
        self._kind: str = scope["type"]
        self._method: str = scope.get("method", "GET")
        self._headers: Headers = list(scope["headers"])
        self._client = scope.get("client")
        query: bytes = scope["query_string"]
        path: bytes = scope.get("raw_path") or scope["path"].encode()
        self.target = path + (b"?" + query if query else b"")
        host = self._header(b"host").decode("latin-1")
        self.host = host
        found = address(host, path.decode("latin-1"))
        assert found is not None, "only requests for apps come here"
        self.address = found
        self._read = asyncio.Event()  # all of the body
        self._started = False

    @property
    def browses(self) -> bool:
        """Whether a browser is to show the answer as a page of its own."""
        return self._header(b"sec-fetch-mode") == b"navigate" and self._kind == "http" and self._method == "GET"

    def _header(self, name: bytes) -> bytes:
        return next((value for key, value in self._headers if key == name), b"")

    def to(self, backend: Backend) -> httpcore.Request:
        """The request as a replica gets it: byte by byte the same target and body."""
        target, headers = self.forwarded()
        size = self._header(b"content-length")
        chunked = not size and (self._header(b"transfer-encoding") or self._method in ("POST", "PUT", "PATCH"))
        has_body = size or chunked
        if not has_body:
            self._read.set()
        if chunked:
            headers.append((b"transfer-encoding", b"chunked"))
        url = httpcore.URL(scheme=b"http", host=backend.host.encode(), port=backend.port, target=target)
        return httpcore.Request(self._method, url, headers=headers, content=self.body() if has_body else None)

    def forwarded(self) -> tuple[bytes, Headers]:
        """What the app is asked for, and the headers that say so and where the request came from."""
        prefix = self.address.prefix.encode()
        target = self.target.removeprefix(prefix)
        headers = [(name, value) for name, value in without_hops(self._headers) if name not in _FORWARDED]
        headers.append((b"x-forwarded-for", self._client[0].encode() if self._client else b"unknown"))
        headers += [(b"x-forwarded-proto", b"http"), (b"x-forwarded-host", self.host.encode("latin-1"))]
        if prefix:
            headers.append((b"x-forwarded-prefix", prefix))
        return target if target.startswith(b"/") else b"/" + target, headers

    async def body(self) -> AsyncIterator[bytes]:
        """The body as it comes."""
        more = True
        while more:
            event = await self.receive()
            if event["type"] == "http.disconnect":
                raise httpcore.ReadError("the client left")
            more = event.get("more_body", False)
            if body := event.get("body", b""):
                yield body
        self._read.set()

    async def left(self) -> None:
        """Return once the client is gone, or there is nothing left to say to it."""
        await self._read.wait()
        while (await self.receive())["type"] != "http.disconnect":
            pass

    async def answer(self, response: httpcore.Response) -> None:
        """Hand an answer on as it comes."""
        headers = [(name.lower(), value) for name, value in without_hops(response.headers)]
        prefix = self.address.prefix
        headers = [
            (name, location(value.decode("latin-1"), prefix, self.host).encode("latin-1"))
            if name == b"location"
            else (name, value)
            for name, value in headers
        ]
        await self.send({"type": "http.response.start", "status": response.status, "headers": headers})
        self._started = True
        async for chunk in response.aiter_stream():
            await self.send({"type": "http.response.body", "body": chunk, "more_body": True})
        await self.send({"type": "http.response.body", "body": b""})

    async def answer_call(self, response: pyqwest.Response) -> None:
        """Hand the answer to a gRPC call on as it comes."""
        self._started = True
        await apps_grpc.answer(response, self.send)

    async def refuse(self, status: int, code: str, message: str) -> None:
        """Answer with an error. One that has begun stays incomplete, and the server breaks the connection off."""
        if self._kind == "websocket":
            await self.send({"type": "websocket.close", "code": _TRY_AGAIN_LATER})
        elif not self._started:
            await respond(self.send, status, code, message)


_Ask = Callable[[_Request, Backend, float], Awaitable[None]]


def without_hops(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Headers for the next hop: without those that are about this one."""
    listed = [(name.lower(), value) for name, value in headers]
    named = {part.strip().lower() for name, value in listed if name == b"connection" for part in value.split(b",")}
    return [(name, value) for name, value in listed if name not in _HOP and name not in named]
