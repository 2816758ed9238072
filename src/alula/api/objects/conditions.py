"""Conditional headers and ranges, decided. Pure. The rules: RFC 9110, sections 13 and 14; S3's where it differs."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

from alula.api.objects.errors import S3Error
from alula.blobs.folder import Condition
from alula.blobs.record import Meta

_RANGE = re.compile(r"bytes=([0-9]*)-([0-9]*)")
_COPY = "x-amz-copy-source-"


def for_change(headers: Mapping[str, str]) -> Condition | None:
    """What must hold of the object that is there (or is not) for it to be replaced or removed; ``None``: nothing."""
    match, none_match = headers.get("if-match"), headers.get("if-none-match")
    if match is None and none_match is None:
        return None

    def holds(there: Meta | None) -> bool:
        if match is not None and not _matches(match, there):
            return False
        return none_match is None or not _matches(none_match, there)

    return holds


def for_read(headers: Mapping[str, str], meta: Meta) -> int:
    """200 to send the object, 304 if the client has it already, 412 if it is not the one that the client wants."""
    modified = meta.modified.replace(microsecond=0)
    if "if-match" in headers:
        if not _matches(headers["if-match"], meta):
            return 412
    elif (since := _date(headers.get("if-unmodified-since"))) and modified > since:
        return 412
    if "if-none-match" in headers:
        return 304 if _matches(headers["if-none-match"], meta) else 200
    since = _date(headers.get("if-modified-since"))
    return 304 if since and modified <= since else 200


def for_copy(headers: Mapping[str, str]) -> Condition | None:
    """What must hold of the original for it to be copied."""
    asked = {name.removeprefix(_COPY): value for name, value in headers.items() if name.startswith(_COPY + "if-")}
    return (lambda meta: meta is not None and for_read(asked, meta) == 200) if asked else None


def span(headers: Mapping[str, str], meta: Meta) -> tuple[int, int] | None:
    """The range that is asked for, as [start, end); ``None``: the whole object. `S3Error` if there is no such range."""
    found = _RANGE.fullmatch(headers.get("range", "").replace(" ", ""))
    if found is None or found.group(0) == "bytes=-":
        return None  # no range, several, or nonsense: a server may always send everything
    if "if-range" in headers and headers["if-range"] not in (f'"{meta.etag}"', http_date(meta.modified)):
        return None
    first, last = found.groups()
    if not first:
        start, end = max(0, meta.size - int(last)), meta.size
    else:
        start, end = int(first), min(int(last) + 1, meta.size) if last else meta.size
        if last and int(last) < start:
            return None
    if start >= end:
        raise S3Error("InvalidRange", f"the object has {meta.size} bytes", {"content-range": f"bytes */{meta.size}"})
    return start, end


def http_date(moment: datetime) -> str:
    """A time as in headers."""
    return format_datetime(moment.astimezone(UTC).replace(microsecond=0), usegmt=True)


def _matches(asked: str, there: Meta | None) -> bool:
    if there is None:
        return False
    tags = {tag.strip().removeprefix("W/").strip('"') for tag in asked.split(",")}
    return "*" in tags or there.etag in tags


def _date(text: str | None) -> datetime | None:
    try:
        parsed = parsedate_to_datetime(text or "")
    except ValueError:
        return None
    return parsed.replace(tzinfo=parsed.tzinfo or UTC)
