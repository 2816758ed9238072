"""What is known of an object that is a file (`core.record`)."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from alula.core import record

_TAIL = 512  # bytes read at once from the end: most trailers fit


@dataclass(frozen=True, slots=True)
class Meta:
    """What is known of an object without reading it."""

    size: int  # bytes
    modified: datetime
    etag: str  # unquoted; the MD5 of the data in hex, or md5-of-md5s and the number of parts after a multipart upload
    headers: Mapping[str, str] = field(default_factory=dict)  # lower-case: content-type, x-amz-meta-*, ...


def read_meta(fd: int) -> Meta | None:
    """What is known of the object in an open file; ``None`` if the file is no object."""
    status = os.fstat(fd)
    length = status.st_size
    tail = os.pread(fd, _TAIL, max(0, length - _TAIL))
    behind = record.trailer_size(tail)
    if behind is None or behind > length:
        return None
    size = length - behind
    etag, headers = record.known(tail[-behind:] if behind <= len(tail) else os.pread(fd, behind, size))
    return Meta(size=size, modified=datetime.fromtimestamp(status.st_mtime, UTC), etag=etag, headers=headers)
