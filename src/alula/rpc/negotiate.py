"""Which protocol an HTTP request speaks, if any. Pure: a request's head in, a decision out."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from urllib.parse import parse_qs

from alula.rpc import status
from alula.rpc.codec import CODECS, JSON, PROTO, Codec
from alula.rpc.connect import ConnectUnary
from alula.rpc.errors import Code, RpcError
from alula.rpc.exchange import Opener
from alula.rpc.framed import CONNECT, GRPC, GRPC_WEB, Framed
from alula.rpc.service import Kind, Method


@dataclass(frozen=True, slots=True)
class Speech:
    """A protocol and a codec: what a content type says."""

    open: Opener
    codec: Codec
    framed: bool = True
    trailers: bool = False  # it needs HTTP trailers, hence HTTP/2


@dataclass(frozen=True, slots=True)
class Refusal:
    """A plain HTTP answer for what is no call."""

    status: int
    text: str
    headers: tuple[tuple[bytes, bytes], ...] = ()


_CONNECT, _GRPC, _WEB = partial(Framed, CONNECT), partial(Framed, GRPC), partial(Framed, GRPC_WEB)
SPEECHES: Mapping[str, Speech] = {
    "application/proto": Speech(ConnectUnary, PROTO, framed=False),
    "application/json": Speech(ConnectUnary, JSON, framed=False),
    "application/connect+proto": Speech(_CONNECT, PROTO),
    "application/connect+json": Speech(_CONNECT, JSON),
    "application/grpc": Speech(_GRPC, PROTO, trailers=True),
    "application/grpc+proto": Speech(_GRPC, PROTO, trailers=True),
    "application/grpc+json": Speech(_GRPC, JSON, trailers=True),
    "application/grpc-web": Speech(_WEB, PROTO),
    "application/grpc-web+proto": Speech(_WEB, PROTO),
    "application/grpc-web+json": Speech(_WEB, JSON),
}
_RPC_PATH = re.compile(r"/[A-Za-z_]\w*(\.[A-Za-z_]\w*)+/[A-Za-z_]\w*", re.ASCII)


def media_type(content_type: str) -> str:
    """The content type without its parameters."""
    return content_type.partition(";")[0].strip().lower()


def negotiate(method: Method, verb: str, content_type: str, query: str, *, trailers: bool) -> Speech | Refusal:
    """How the call of ``method`` is spoken. ``trailers``: the server can send them."""
    if verb == "GET" and method.safe and method.kind is Kind.UNARY:
        encoding = parse_qs(query).get("encoding", [""])[-1]
        if encoding not in CODECS:
            return Refusal(415, "the query parameter encoding must be proto or json")
        return SPEECHES[f"application/{encoding}"]
    if verb != "POST":
        return Refusal(405, "a call is a POST", ((b"allow", b"GET, POST" if method.safe else b"POST"),))
    speech = SPEECHES.get(media_type(content_type))
    if speech is None or not fits(speech, method.kind):
        accepted = ", ".join(name for name, one in SPEECHES.items() if fits(one, method.kind))
        return Refusal(415, f"the content type must be one of {accepted}", ((b"accept-post", accepted.encode()),))
    return _with_trailers(speech, trailers=trailers)


def fits(speech: Speech, kind: Kind) -> bool:
    """Whether a method of this kind can be called so: Connect writes unary calls and streams differently."""
    if speech.open is _CONNECT:
        return kind is not Kind.UNARY
    return speech.framed or kind is Kind.UNARY


def unknown(path: str, verb: str, content_type: str, *, trailers: bool) -> Speech | Refusal | None:
    """How a call of an unknown method was meant; None when the request is no call, but somebody else's."""
    speech = SPEECHES.get(media_type(content_type)) if verb == "POST" else None
    if speech is None or (not speech.framed and not _RPC_PATH.fullmatch(path)):
        return None
    if not speech.framed:
        error = RpcError(Code.UNIMPLEMENTED, f"{path} is not served here")
        return Refusal(404, status.connect_unary(error).decode(), ((b"content-type", b"application/json"),))
    return _with_trailers(speech, trailers=trailers)


def _with_trailers(speech: Speech, *, trailers: bool) -> Speech | Refusal:
    if speech.trailers and not trailers:
        return Refusal(505, "gRPC needs HTTP/2; over HTTP/1.1 speak Connect or gRPC-Web")
    return speech
