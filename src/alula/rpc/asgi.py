"""The ASGI types the layer speaks, and its one extension."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

Scope: TypeAlias = MutableMapping[str, Any]
Event: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Event]]
Send: TypeAlias = Callable[[Event], Awaitable[None]]
Asgi: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers: TypeAlias = list[tuple[bytes, bytes]]

GONE = "alula.gone"
"""The ASGI extension of this package's server: a set of callbacks, each called once when the client goes away.

`receive()` tells of a disconnect only who calls it, and a handler that waits for an event does not. With callbacks no
request needs a task of its own that watches. Under a server without the extension a handler is not stopped."""

TRAILERS = "http.response.trailers"  # the ASGI extension for HTTP trailers, without which gRPC cannot be spoken


class Disconnected(Exception):
    """The client went away while its request was being read."""
