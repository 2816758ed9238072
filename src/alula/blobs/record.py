"""An object as one file: the data, then what is known of it. So the two cannot get out of step.

Layout: data, a JSON trailer ``{"etag": ..., "headers": {...}}``, the trailer's length (4 bytes), a mark (4 bytes).
A file without its mark was cut short by a crash of the machine and is no object. The data lie at offset 0, so a range
of them is a range of the file.
"""

import json
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

_END = struct.Struct(">I4s")
_MARK = b"ALB1"
_TAIL = 512  # bytes read at once from the end: most trailers fit


@dataclass(frozen=True, slots=True)
class Meta:
    """What is known of an object without reading it."""

    size: int  # bytes
    modified: datetime
    etag: str  # unquoted; the MD5 of the data in hex, or md5-of-md5s and the number of parts after a multipart upload
    headers: Mapping[str, str] = field(default_factory=dict)  # lower-case: content-type, x-amz-meta-*, ...


def trailer(etag: str, headers: Mapping[str, str]) -> bytes:
    """What follows the data in the file."""
    about = json.dumps({"etag": etag, "headers": dict(headers)}).encode()
    return about + _END.pack(len(about), _MARK)


def read_meta(fd: int) -> Meta | None:
    """What is known of the object in an open file; ``None`` if the file is no object."""
    status = os.fstat(fd)
    length = status.st_size
    tail = os.pread(fd, _TAIL, max(0, length - _TAIL))
    if len(tail) < _END.size:
        return None
    about_size, mark = _END.unpack_from(tail, len(tail) - _END.size)
    size = length - _END.size - about_size
    if mark != _MARK or size < 0:
        return None
    start = len(tail) - _END.size - about_size
    about = tail[start : -_END.size] if start >= 0 else os.pread(fd, about_size, size)
    known = json.loads(about)
    modified = datetime.fromtimestamp(status.st_mtime, UTC)
    return Meta(size=size, modified=modified, etag=known["etag"], headers=known["headers"])
