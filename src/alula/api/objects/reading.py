"""GET and HEAD of an object."""

import mimetypes
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import ExitStack

from alula.api.objects.call import Call, Reply
from alula.api.objects.conditions import for_read, http_date, span
from alula.api.objects.errors import S3Error
from alula.api.objects.threads import run
from alula.blobs.folder import Folder, Opened
from alula.blobs.record import Meta

_PIECE = 1024 * 1024  # bytes in memory at a time
_PLAIN = re.compile(r"[\x20-\x7e]*")
OVERRIDES = {  # what a signed query may say instead of what was put
    "response-cache-control": "cache-control",
    "response-content-disposition": "content-disposition",
    "response-content-encoding": "content-encoding",
    "response-content-language": "content-language",
    "response-content-type": "content-type",
    "response-expires": "expires",
}
# An object is what some task wrote: a page among them (a report, mostly, with scripts) must not act as a page of this
# server. A sandbox gives it an origin of its own.
_HARMLESS = {"content-security-policy": "sandbox allow-scripts", "x-content-type-options": "nosniff"}


async def head(folder: Folder, call: Call) -> Reply:
    """What GET would answer, without the body."""
    with folder.open(call.key) as opened:
        status, headers, _ = _plan(call, opened.meta)
    return Reply(status, headers)


async def get(folder: Folder, call: Call) -> Reply:
    """The object, or a range of it."""
    with ExitStack() as stack:
        opened = stack.enter_context(folder.open(call.key))
        status, headers, (start, end) = _plan(call, opened.meta)
        if end - start <= folder.near:
            return Reply(status, headers, opened.read(start, end - start))
        stack.pop_all()  # from here on the stream closes it
    return Reply(status, headers, _stream(opened, start, end))


def _plan(call: Call, meta: Meta) -> tuple[int, dict[str, str], tuple[int, int]]:
    status = for_read(call.headers, meta)
    if status == 412:
        raise S3Error("PreconditionFailed", "the object is not the one that the request asks for")
    headers = _headers(call, meta)
    if status == 304:
        return 304, {name: headers[name] for name in ("etag", "last-modified")}, (0, 0)
    asked = span(call.headers, meta)
    start, end = asked or (0, meta.size)
    headers["content-length"] = str(end - start)
    if asked:
        headers["content-range"] = f"bytes {start}-{end - 1}/{meta.size}"
    return 206 if asked else 200, headers, (start, end)


def _headers(call: Call, meta: Meta) -> dict[str, str]:
    overrides: Mapping[str, str] = {OVERRIDES[name]: text for name, text in call.query.items() if name in OVERRIDES}
    for name, text in overrides.items():
        if not _PLAIN.fullmatch(text):
            raise S3Error("InvalidArgument", f"response-{name}: can hold printable ASCII only")
    return {
        "content-type": _guess(call.key),
        **meta.headers,
        **overrides,
        **_HARMLESS,
        "accept-ranges": "bytes",
        "etag": f'"{meta.etag}"',
        "last-modified": http_date(meta.modified),
    }


def _guess(key: str) -> str:
    kind, encoding = mimetypes.guess_type("name" + key[key.rfind(".") :] if "." in key else "name", strict=False)
    return kind if kind and not encoding else "binary/octet-stream"


async def _stream(opened: Opened, start: int, end: int) -> AsyncGenerator[bytes, None]:
    with opened:
        for at in range(start, end, _PIECE):
            yield await run(opened.read, at, min(_PIECE, end - at))
