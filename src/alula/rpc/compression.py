"""gzip, the one compression spoken besides none."""

import re
import zlib

from alula.rpc.codec import Garbage
from alula.rpc.errors import Code, RpcError

GZIP = "gzip"
IDENTITY = "identity"
SUPPORTED = f"{GZIP}, {IDENTITY}"
WORTHWHILE = 1024  # bytes; below, compressing costs more than it saves

_TAKES_GZIP = re.compile(r"gzip\s*(;\s*q=(?!0(\.0*)?$).*)?")  # q=0 says: do not
_GZIP_BITS = 31
_STEP = 64 * 1024


def inflate(data: bytes, limit: int) -> bytes:
    """The content of gzip ``data``. Stops as soon as it is over ``limit`` bytes, so a bomb costs at most that.

    Raises RESOURCE_EXHAUSTED over the limit and Garbage for what is not gzip.
    """
    content = bytearray()
    while True:
        inflater = zlib.decompressobj(_GZIP_BITS)
        try:
            while data and not inflater.eof:
                content += inflater.decompress(data, min(_STEP, limit + 1 - len(content)))
                if len(content) > limit:
                    content.clear()  # the error keeps this frame, and whoever logs it keeps the error
                    raise too_large(limit)
                data = inflater.unconsumed_tail
        except zlib.error as error:
            raise Garbage("the body is not gzip") from error
        if not inflater.eof:
            raise Garbage("the gzip body is cut short")
        data = inflater.unused_data  # gzip allows several members in a row
        if not data:
            return bytes(content)


def deflate(data: bytes) -> bytes:
    """``data`` as gzip, at the fastest level."""
    return zlib.compress(data, 1, _GZIP_BITS)


def named(encoding: str) -> bool:
    """Whether a message said to be in ``encoding`` is gzip. Raises UNIMPLEMENTED for what is not spoken."""
    if encoding == GZIP:
        return True
    if encoding in ("", IDENTITY):
        return False
    raise RpcError(Code.UNIMPLEMENTED, f"unknown compression {encoding!r}: supported are {SUPPORTED}")


def accepted(accept: str) -> bool:
    """Whether a client that sent this ``accept-encoding`` takes gzip."""
    return GZIP in accept and any(_TAKES_GZIP.fullmatch(one.strip()) for one in accept.split(","))


def too_large(limit: int) -> RpcError:
    """The refusal of a message above the limit."""
    return RpcError(Code.RESOURCE_EXHAUSTED, f"the message is larger than {limit} bytes")
