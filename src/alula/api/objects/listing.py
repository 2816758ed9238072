"""Lists: of the objects in the bucket (ListObjectsV2 and its elder), and of the one bucket."""

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from urllib.parse import quote

from alula.api.objects import documents
from alula.api.objects.call import Call, Reply
from alula.api.objects.errors import S3Error
from alula.api.objects.threads import run
from alula.blobs.folder import Folder
from alula.blobs.names import Query
from alula.blobs.record import Meta

_PAGE = 1000  # S3's limit
_LAST = "\U0010ffff"  # after a folder's prefix: behind everything in it


@dataclass(frozen=True, slots=True)
class Page:
    """One page of names, in order; ``after`` is where the next one begins, None if there is none."""

    found: list[tuple[str, Meta | None]]
    after: str | None


def page(folder: Folder, query: Query, limit: int) -> Page:
    """The first ``limit`` names that the query finds."""
    found = list(islice(folder.walk(query), limit + 1))
    if limit == 0 or len(found) <= limit:
        return Page(found[:limit], None)
    name, meta = found[limit - 1]
    return Page(found[:limit], name if meta else name + _LAST)


async def list_v2(folder: Folder, call: Call) -> Reply:
    """ListObjectsV2."""
    token = call.query.get("continuation-token")
    after = _untoken(token) if token is not None else call.query.get("start-after", "")
    query, limit = _asked(call, after)
    result = await run(page, folder, query, limit)
    text = _encoding(call)
    about: list[tuple[str, documents.Content]] = [("KeyCount", str(len(result.found)))]
    if token is not None:
        about.append(("ContinuationToken", token))
    if "start-after" in call.query:
        about.append(("StartAfter", text(call.query["start-after"])))
    if result.after is not None:
        about.append(("NextContinuationToken", _token(result.after)))
    return _document("ListBucketResult", [*about, *_common(call, query, limit, result)])


async def list_v1(folder: Folder, call: Call) -> Reply:
    """ListObjects, which rclone and older clients use."""
    marker = call.query.get("marker", "")
    query, limit = _asked(call, marker + _LAST if call.query.get("delimiter") and marker.endswith("/") else marker)
    result = await run(page, folder, query, limit)
    text = _encoding(call)
    about: list[tuple[str, documents.Content]] = [("Marker", text(marker))]
    if result.after is not None:
        about.append(("NextMarker", text(result.after.removesuffix(_LAST))))
    return _document("ListBucketResult", [*about, *_common(call, query, limit, result)])


async def list_buckets(folder: Folder, _: Call) -> Reply:
    """The one bucket there is."""
    created = documents.time(datetime.fromtimestamp(0, UTC))  # nobody asks, but clients parse it
    owner = [("ID", "alula"), ("DisplayName", "alula")]
    bucket = [("Name", folder.bucket), ("CreationDate", created)]
    return _document("ListAllMyBucketsResult", [("Owner", owner), ("Buckets", [("Bucket", bucket)])])


async def location(_: Folder, __: Call) -> Reply:
    """Where the bucket is: empty means us-east-1."""
    return _document("LocationConstraint", [])


def _asked(call: Call, after: str) -> tuple[Query, int]:
    delimiter, limit = call.query.get("delimiter", ""), call.query.get("max-keys", str(_PAGE))
    if delimiter not in ("", "/"):
        raise S3Error("NotImplemented", "delimiter: only / is served")
    if not limit.isascii() or not limit.isdigit() or len(limit) > 10:
        raise S3Error("InvalidArgument", "max-keys: must be a number")
    return Query(call.query.get("prefix", ""), after, shallow=bool(delimiter)), min(int(limit), _PAGE)


def _common(call: Call, query: Query, limit: int, result: Page) -> list[tuple[str, documents.Content]]:
    text = _encoding(call)
    about: list[tuple[str, documents.Content]] = [
        ("Name", call.bucket),
        ("Prefix", text(query.prefix)),
        ("MaxKeys", str(limit)),
        ("IsTruncated", "false" if result.after is None else "true"),
    ]
    if query.shallow:
        about.append(("Delimiter", "/"))
    if "encoding-type" in call.query:
        about.append(("EncodingType", "url"))
    for name, meta in result.found:
        if meta is None:
            about.append(("CommonPrefixes", [("Prefix", text(name))]))
            continue
        size, modified = str(meta.size), documents.time(meta.modified)
        entry = [("Key", text(name)), ("LastModified", modified), ("ETag", f'"{meta.etag}"'), ("Size", size)]
        about.append(("Contents", [*entry, ("StorageClass", "STANDARD")]))
    return about


def _encoding(call: Call) -> Callable[[str], str]:
    if call.query.get("encoding-type", "url") != "url":
        raise S3Error("InvalidArgument", "encoding-type: only url is known")
    return (lambda name: quote(name, safe="/-_.~")) if "encoding-type" in call.query else str


def _token(after: str) -> str:
    return base64.urlsafe_b64encode(after.encode()).decode()


def _untoken(token: str) -> str:
    try:
        return base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError):
        raise S3Error("InvalidArgument", "continuation-token: not one of this server's") from None


def _document(name: str, content: list[tuple[str, documents.Content]]) -> Reply:
    return Reply(headers={"content-type": "application/xml"}, body=documents.write(name, content))
