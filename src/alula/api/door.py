"""What is in front of everything: who may speak to a server on the loopback interface, and what is no rpc."""

import json
from collections.abc import Awaitable, Callable

from alula.core.errors import DomainError
from alula.rpc.asgi import Asgi, Receive, Scope, Send

Check = Callable[[], Awaitable[None]]

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]", "::1"})
_NO_CONSOLE = (
    "alula has no console yet. Look at runs with the CLI: flyte get run NAME, flyte get logs NAME, "
    "or runs-client list-actions"
)


class Guard:
    """Refuses what a web page elsewhere can make a browser send here.

    A page that rebinds its own name to this address is told by its Host; one that posts across origins, by its Origin.
    """

    def __init__(self, app: Asgi) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = _refusal(scope) if scope["type"] == "http" else None
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await respond(send, 403, "permission_denied", refusal)


def _refusal(scope: Scope) -> str | None:
    headers = {name: value.decode("latin-1") for name, value in scope["headers"] if name in (b"host", b"origin")}
    host = headers.get(b"host", "")
    if _name(host) not in _LOOPBACK:
        return f"host {host!r} is not served: this server answers on localhost only"
    origin = headers.get(b"origin")
    if origin is not None and origin.partition("://")[2] != host:
        return f"requests from {origin!r} are not served: only pages of this server itself may call it"
    return None


def _name(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].lower()


class Plain:
    """What is no rpc: health, readiness, and (all the rest) objects."""

    def __init__(self, objects: Asgi, ready: Check) -> None:
        self._objects = objects
        self._ready = ready

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path == "/healthz":
            await respond(send, 200, "ok", "alula is alive")
        elif path == "/readyz":
            await self._answer_ready(send)
        elif path == "/v2" or path.startswith("/v2/") or (path == "/" and not _signed(scope)):
            await respond(send, 404 if path != "/" else 200, "no_console", _NO_CONSOLE)
        else:
            await self._objects(scope, receive, send)

    async def _answer_ready(self, send: Send) -> None:
        try:
            await self._ready()
        except DomainError as error:
            await respond(send, 503, "unavailable", str(error))
        else:
            await respond(send, 200, "ok", "the database and the object store can be used")


def _signed(scope: Scope) -> bool:
    """An S3 client asking for the list of buckets is signed; a browser at the front door is not."""
    return any(name == b"authorization" for name, _ in scope["headers"]) or b"X-Amz-" in scope["query_string"]


async def respond(send: Send, status: int, code: str, message: str) -> None:
    """Answer in the shape of a Connect error, which people can read too."""
    body = json.dumps({"code": code, "message": message}).encode() + b"\n"
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
