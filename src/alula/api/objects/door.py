"""The door itself: an ASGI app that checks who asks, finds the operation, and says errors as S3 does."""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from alula.api.objects import documents, listing, reading, writing
from alula.api.objects.body import Body, Gone, Intake, Receive
from alula.api.objects.call import Call, Reply, headers_of, parse, split
from alula.api.objects.errors import STATUS, S3Error, code_of
from alula.blobs.folder import Folder
from alula.blobs.multipart import Multipart
from alula.blobs.sigv4 import Credentials, Request, verify
from alula.blobs.uri import check_key

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
T = TypeVar("T")
Operation = Callable[[Call], Awaitable[Reply]]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Route:
    """An operation is known by its method and by the names in the query. Any other name means another operation."""

    method: str
    needed: frozenset[str]
    allowed: frozenset[str]
    operation: Operation


class ObjectsDoor:
    """Serves the objects of one folder to whoever signs requests with the credentials, or has a presigned URL."""

    def __init__(self, folder: Folder, credentials: Credentials, clock: Callable[[], datetime]) -> None:
        self._folder = folder
        self._uploads = Multipart(folder)
        self._credentials = credentials
        self._clock = clock
        self._service = [_route("GET", "", "", listing.list_buckets, folder)]
        self._bucket = _bucket_routes(folder)
        self._object = _object_routes(folder, self._uploads)

    def sweep(self) -> None:
        """Remove what a crash left half written. Call it at start, before the first request and the first put."""
        self._folder.sweep()
        self._uploads.sweep(self._clock())

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        if scope["type"] != "http":
            return
        headers = headers_of(scope)
        intake = Intake(receive, headers)
        with contextlib.suppress(Gone):
            reply = await self._reply(scope, headers, intake)
            if not await intake.drain() and scope["http_version"].startswith("1"):
                reply = replace(reply, headers={**reply.headers, "connection": "close"})
            await _send(reply, scope["method"] == "HEAD", receive, send)

    async def _reply(self, scope: Mapping[str, Any], headers: Mapping[str, str], intake: Intake) -> Reply:
        try:
            return await self._operate(parse(scope, headers), intake)
        except Gone:
            raise
        except Exception as error:
            return _refusal(error)

    async def _operate(self, request: Request, intake: Intake) -> Reply:
        bucket, key = split(request.path)
        if bucket not in ("", self._folder.bucket):
            raise S3Error("NoSuchBucket", f"there is no bucket {bucket[:63]!r} here")
        verified = verify(request, self._credentials, self._clock())
        if key:
            check_key(key)
        routes = self._object if key else self._bucket if bucket else self._service
        query = dict(request.query)
        operation = _find(routes, request.method, frozenset(query))
        return await operation(Call(bucket, key, query, request.headers, Body(intake, request.headers, verified)))


def _bucket_routes(folder: Folder) -> list[_Route]:
    names = "prefix delimiter max-keys encoding-type"
    return [
        _route("HEAD", "", "", _nothing, folder),
        _route("PUT", "", "", _nothing, folder),  # it is there already
        _route("GET", "location", "", listing.location, folder),
        _route("GET", "list-type", f"{names} continuation-token start-after fetch-owner", listing.list_v2, folder),
        _route("GET", "", f"{names} marker", listing.list_v1, folder),
        _route("POST", "delete", "", writing.delete_many, folder),
    ]


def _object_routes(folder: Folder, uploads: Multipart) -> list[_Route]:
    responses = " ".join(reading.OVERRIDES)
    return [
        _route("GET", "", responses, reading.get, folder),
        _route("HEAD", "", responses, reading.head, folder),
        _route("PUT", "", "", writing.put, folder),
        _route("DELETE", "", "", writing.delete, folder),
        _route("POST", "uploads", "", writing.begin, uploads),
        _route("PUT", "uploadId partNumber", "", writing.put_part, uploads),
        _route("POST", "uploadId", "", writing.complete, uploads),
        _route("DELETE", "uploadId", "", writing.abort, uploads),
        _route("GET", "uploadId", "max-parts part-number-marker", writing.list_parts, uploads),
    ]


def _route(method: str, needed: str, allowed: str, operation: Callable[[T, Call], Awaitable[Reply]], on: T) -> _Route:
    return _Route(method, frozenset(needed.split()), frozenset(allowed.split()), partial(operation, on))


async def _nothing(_: Folder, __: Call) -> Reply:
    return Reply()


def _find(routes: list[_Route], method: str, names: frozenset[str]) -> Operation:
    asked = frozenset(name for name in names if name != "x-id" and not name.startswith("X-Amz-"))
    for route in routes:
        if route.method == method and route.needed <= asked <= route.needed | route.allowed:
            return route.operation
    if asked:
        raise S3Error("NotImplemented", f"{method} with {', '.join(sorted(asked))[:200]} is not served here")
    raise S3Error("MethodNotAllowed", f"{method} is not served here")


def _refusal(error: Exception) -> Reply:
    code, request_id = code_of(error), secrets.token_hex(8)
    message = str(error)
    if code == "InternalError":
        _log.error("request %s to the object store failed", request_id, exc_info=error)
        message = f"something broke in this server; its log tells more under {request_id}"
    content = documents.write("Error", [("Code", code), ("Message", message), ("RequestId", request_id)])
    headers = {"content-type": "application/xml", "x-amz-request-id": request_id}
    if code == "ServiceUnavailable":
        headers["retry-after"] = "1"
    if isinstance(error, S3Error):
        headers.update(error.headers)
    return Reply(STATUS[code], headers, content)


async def _send(reply: Reply, head: bool, receive: Receive, send: Send) -> None:
    headers = dict(reply.headers)
    if isinstance(reply.body, bytes) and not head and reply.status not in (204, 304):
        headers["content-length"] = str(len(reply.body))
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": raw})
    if isinstance(reply.body, bytes):
        await send({"type": "http.response.body", "body": b"" if head else reply.body})
        return
    async with contextlib.aclosing(reply.body) as pieces, _departure(receive) as gone:
        async for piece in pieces:
            if gone.done():
                return
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


@contextlib.asynccontextmanager
async def _departure(receive: Receive) -> AsyncIterator[asyncio.Task[None]]:
    """A task that is done when the client is gone: nobody need be sent the rest."""

    async def wait() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    task = asyncio.create_task(wait())
    try:
        yield task
    finally:
        task.cancel()
