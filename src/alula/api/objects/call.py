"""A request to the object store and the answer to it, as values; how a request is taken apart. Pure."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

from alula.api.objects.body import Body
from alula.api.objects.errors import S3Error
from alula.blobs.sigv4 import Request


@dataclass(frozen=True, slots=True)
class Call:
    """A request whose signature was verified."""

    bucket: str
    key: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Body


@dataclass(frozen=True, slots=True)
class Reply:
    """What to answer. A body that comes in pieces needs a Content-Length among the headers."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | AsyncGenerator[bytes, None] = b""


def headers_of(scope: Mapping[str, Any]) -> dict[str, str]:
    """The headers in an ASGI scope, by lower-case names; repeated ones are joined."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    return headers


def parse(scope: Mapping[str, Any], headers: Mapping[str, str]) -> Request:
    """The request in an ASGI scope."""
    path = scope.get("raw_path") or scope["path"].encode()
    try:
        query = parse_qsl(scope["query_string"].decode("ascii"), keep_blank_values=True, errors="strict")
        return Request(scope["method"], path.decode("ascii"), query, headers)
    except ValueError:
        raise S3Error("InvalidURI", "the URL must be percent-encoded UTF-8") from None


def split(path: str) -> tuple[str, str]:
    """The bucket and the literal key in a percent-encoded path; "" for what it does not name."""
    try:
        bucket, _, key = unquote_to_bytes(path).decode().removeprefix("/").partition("/")
    except UnicodeDecodeError:
        raise S3Error("InvalidURI", "the path must be percent-encoded UTF-8") from None
    return bucket, key
