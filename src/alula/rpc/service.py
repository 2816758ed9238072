"""A protobuf service and the object that answers its calls."""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass


@dataclass(frozen=True, slots=True)
class Context:
    """What a handler may know of a call besides its request, and the metadata it may answer with.

    Header names are lower-case; a header sent more than once is joined with ", ". A ``-bin`` value is base64 text on
    both ways: see ``metadata.encode_binary`` and ``metadata.decode_binary``.
    """

    method: str  # "/package.Service/Method"
    headers: Mapping[str, str] = field(repr=False)  # may hold credentials
    deadline: float | None  # seconds on the event loop's clock; the layer enforces it
    peer: str  # "host:port" of the client, "" when unknown
    query: str = ""  # the query string of a Connect GET
    response_headers: dict[str, str] = field(default_factory=dict)  # counts until the first message is sent
    trailers: dict[str, str] = field(default_factory=dict)  # counts until the call ends


class Kind(Enum):
    """Which side of a method is a stream."""

    UNARY = "unary"
    SERVER_STREAM = "server stream"
    CLIENT_STREAM = "client stream"
    BIDI = "bidi"


KINDS = {
    (False, False): Kind.UNARY,
    (False, True): Kind.SERVER_STREAM,
    (True, False): Kind.CLIENT_STREAM,
    (True, True): Kind.BIDI,
}
RETURNS_ONE = frozenset({Kind.UNARY, Kind.CLIENT_STREAM})


@dataclass(frozen=True, slots=True)
class Method:
    """One rpc of a service, ready to be called."""

    path: str
    kind: Kind
    request: type[Message]
    safe: bool  # marked NO_SIDE_EFFECTS: a Connect client may call it with GET
    handler: Callable[..., Any] | None  # None: the service does not serve it


class Service:
    """The methods of ``descriptor``, answered by ``handler``.

    The handler has one method per rpc, named in snake case (``GetDataURIs`` -> ``get_data_uris``):

    - unary: ``async def f(self, request, context) -> Response``
    - server stream: ``async def f(self, request, context)`` that yields responses
    - client stream: ``async def f(self, requests, context) -> Response``, requests being an async iterator
    - bidi: ``async def f(self, requests, context)`` that yields responses

    An rpc without a method is answered with UNIMPLEMENTED. Raises TypeError for a public attribute that is no rpc, and
    for a method of the wrong kind: a typo dies at start.
    """

    def __init__(self, descriptor: ServiceDescriptor, handler: object) -> None:
        self.descriptor = descriptor
        rpcs = {snake_case(rpc.name): rpc for rpc in descriptor.methods}
        unknown = sorted(name for name in dir(handler) if not name.startswith("_") and name not in rpcs)
        if unknown:
            raise TypeError(f"{type(handler).__name__}.{unknown[0]} is no rpc of {descriptor.full_name}")
        self.methods = tuple(_method(rpc, getattr(handler, name, None)) for name, rpc in rpcs.items())


def snake_case(name: str) -> str:
    """The Python name of an rpc. An acronym is one word, its plural too: ``GetDataURIs`` -> ``get_data_uris``."""
    return _WORD_START.sub("_", name).lower()


_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z](?!s(?:[A-Z]|$))[a-z])")


def _method(rpc: MethodDescriptor, handler: Callable[..., Any] | None) -> Method:
    kind = KINDS[rpc.client_streaming, rpc.server_streaming]
    if handler is not None and inspect.iscoroutinefunction(handler) != (kind in RETURNS_ONE):
        wanted = "be a coroutine function" if kind in RETURNS_ONE else "return an async iterator"
        raise TypeError(f"{rpc.full_name} is {kind.value}: its handler must {wanted}")
    service = rpc.containing_service.full_name
    return Method(
        path=f"/{service}/{rpc.name}",
        kind=kind,
        request=GetMessageClass(rpc.input_type),
        safe=rpc.GetOptions().idempotency_level == MethodOptions.NO_SIDE_EFFECTS,
        handler=handler,
    )
