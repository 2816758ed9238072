"""What is in front of everything: who may speak to a server on the loopback interface, and what is no rpc."""

import json
from collections.abc import Awaitable, Callable, Collection, Mapping

from alula.api.auth_metadata_service import NO_AUTHENTICATION
from alula.core import ingress
from alula.core.errors import DomainError
from alula.rpc.asgi import Asgi, Receive, Scope, Send

Check = Callable[[], Awaitable[None]]

_POLICY_VIOLATION = 1008  # of the WebSocket protocol
_METADATA = ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration")
_NO_CONSOLE = (
    "alula has no console yet. Look at runs with the CLI: flyte get run NAME, flyte get logs NAME, "
    "or runs-client list-actions"
)


class Guard:
    """Refuses what a web page elsewhere can make a browser send here.

    A page that rebinds its own name to this address is told by its Host; one that posts across origins, by its Origin.
    Requests for apps, which have names of their own below `.localhost`, go to ``apps``.
    """

    def __init__(self, app: Asgi, apps: Asgi, names: Collection[str] = ()) -> None:
        """``names``: by which clients may address this server, besides those of the loopback interface."""
        self._app = app
        self._apps = apps
        self._names = ingress.LOOPBACK | {*names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"] if name in (b"host", b"origin")}
        host, origin = headers.get(b"host", ""), headers.get(b"origin")
        path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
        app = ingress.address(host, path)
        own = app is not None and not app.prefix
        refusal = _refusal(host, origin, self._names, own_origin=own)
        if scope["type"] == "websocket" and (refusal is not None or app is None):
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
        elif refusal is not None:
            await respond(send, 403, "permission_denied", refusal)
        else:
            await (self._app if app is None else self._apps)(scope, receive, send)


def _refusal(host: str, origin: str | None, names: frozenset[str], *, own_origin: bool) -> str | None:
    """Why a request is refused. ``own_origin``: it is for an app, by a name that is the app's alone."""
    if not own_origin and ingress.name_of(host) not in names:
        known = ", ".join(sorted(names - ingress.LOOPBACK))
        return f"host {host!r} is not served: this server answers on localhost {f'and {known}' if known else 'only'}"
    if origin is None or origin.partition("://")[2] == host or (own_origin and ingress.friendly(origin)):
        return None
    return f"requests from {origin!r} are not served: only pages of this server itself may call it"


class Plain:
    """What is no rpc: health, readiness, ``doors`` by the start of their paths, and (all the rest) objects."""

    def __init__(self, objects: Asgi, ready: Check, doors: Mapping[str, Asgi]) -> None:
        self._objects = objects
        self._ready = ready
        self._doors = doors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path == "/healthz":
            await respond(send, 200, "ok", "alula is alive")
        elif path == "/readyz":
            await self._answer_ready(send)
        elif door := next((door for start, door in self._doors.items() if path.startswith(start)), None):
            await door(scope, receive, send)
        elif path in _METADATA:
            await respond(send, 404, "not_found", NO_AUTHENTICATION)
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
