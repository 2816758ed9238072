"""What is written behind an object's data, where an object is one file: so the two cannot get out of step. Pure.

Layout: data, a JSON trailer ``{"etag": ..., "headers": {...}}``, the trailer's length (4 bytes), a mark (4 bytes).
A file without its mark was cut short by a crash of the machine and is no object. The data lie at offset 0, so a range
of them is a range of the file. Also loaded by attempts, under their own Python: the standard library alone, from 3.10.
"""

import hashlib
import json
import struct
from collections.abc import Mapping

_END = struct.Struct(">I4s")
_MARK = b"ALB1"


def trailer(etag: str, headers: Mapping[str, str]) -> bytes:
    """What follows the data in the file."""
    about = json.dumps({"etag": etag, "headers": dict(headers)}).encode()
    return about + _END.pack(len(about), _MARK)


def trailer_size(tail: bytes) -> int | None:
    """Of a file's last bytes, how many are its trailer's, end and mark included; ``None`` if it is no object."""
    if len(tail) < _END.size:
        return None
    about, mark = _END.unpack_from(tail, len(tail) - _END.size)
    return about + _END.size if mark == _MARK else None


def known(trailer: bytes) -> tuple[str, Mapping[str, str]]:
    """The etag and the headers that a whole trailer tells of."""
    about = json.loads(trailer[: -_END.size])
    return about["etag"], about["headers"]


def whole(data: bytes) -> bytes:
    """The file of an object that has no headers."""
    return data + trailer(hashlib.md5(data, usedforsecurity=False).hexdigest(), {})


def data(file: bytes) -> bytes | None:
    """The data of a whole file; ``None`` if it is no object."""
    size = trailer_size(file)
    return None if size is None or size > len(file) else file[: len(file) - size]
