"""The ``aws-chunked`` encoding of upload bodies, taken off, with its signatures and its trailer. Pure.

https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html and sigv4-streaming-trailers.html
"""

import hmac
import re
from collections.abc import Callable
from hashlib import sha256

from alula.api.objects.errors import S3Error
from alula.blobs.sigv4 import Refused, Verified

_LINE = 4096  # bytes; a longer line is none of ours
_HEAD = re.compile(rb"([0-9a-fA-F]{1,12})(?:;chunk-signature=([0-9a-f]{64}))?")
_MODES = {  # what the body is called: (are chunks signed, does a trailer follow)
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD": (True, False),
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER": (True, True),
    "STREAMING-UNSIGNED-PAYLOAD-TRAILER": (False, True),
}


class Chunks:
    """Takes the body as it comes, gives the data. What `feed` gives counts only once `finish` has returned."""

    def __init__(self, verified: Verified) -> None:
        if verified.payload not in _MODES:
            raise S3Error("NotImplemented", f"x-amz-content-sha256: {verified.payload} is not served")
        self._signed, self._trailing = _MODES[verified.payload]
        self._verified = verified
        self._previous = verified.signature
        self._expected = b""  # the signature that the chunk's head gives
        self._digest = sha256()
        self._left = 0  # bytes of the chunk still to come
        self._step: Callable[[bytearray], bool] = self._head  # takes what it can from the buffer; False: it needs more
        self._ended = False
        self._buffer = bytearray()
        self._trailer: dict[str, str] = {}

    def feed(self, data: bytes) -> bytes:
        """The data in the next piece of the body."""
        self._buffer += data
        out = bytearray()
        while not self._ended and self._step(out):
            pass
        return bytes(out)

    def finish(self) -> dict[str, str]:
        """The trailer, by lower-case names. `S3Error` if the body stops early or goes on after its end."""
        if not self._ended or self._buffer:
            raise S3Error("IncompleteBody", "the aws-chunked body does not end where it should: send it again")
        return self._trailer

    def _head(self, _: bytearray) -> bool:
        line = self._line()
        if line is None:
            return False
        found = _HEAD.fullmatch(line)
        if found is None or self._signed != (found[2] is not None):
            raise S3Error(
                "InvalidArgument", "a chunk of the aws-chunked body has no size, or not the signature it needs"
            )
        self._left, self._expected = int(found[1], 16), found[2] or b""
        if self._left:
            self._step = self._data
            return True
        self._check_chunk()
        self._step = self._trail
        return True

    def _data(self, out: bytearray) -> bool:
        part = self._buffer[: self._left]
        del self._buffer[: len(part)]
        self._left -= len(part)
        out += part
        if self._signed:
            self._digest.update(part)
        if not self._left:
            self._step = self._data_end
        return bool(part)

    def _data_end(self, _: bytearray) -> bool:
        line = self._line()
        if line is None:
            return False
        if line:
            raise S3Error("InvalidArgument", "a chunk of the aws-chunked body is longer than it says")
        self._check_chunk()
        self._digest = sha256()
        self._step = self._head
        return True

    def _trail(self, _: bytearray) -> bool:
        line = self._line()
        if line is None:
            return False
        if not line:
            self._check_trailer()
            self._ended = True
            return True
        name, _colon, value = line.decode("latin-1").partition(":")
        if not self._trailing or len(self._trailer) >= 16:
            raise S3Error("InvalidArgument", "the aws-chunked body has a trailer that was not announced")
        self._trailer[name.strip().lower()] = value.strip()
        return True

    def _line(self) -> bytes | None:
        end = self._buffer.find(b"\r\n", 0, _LINE)
        if end < 0:
            if len(self._buffer) >= _LINE:
                raise S3Error("InvalidArgument", "a line of the aws-chunked body is too long")
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def _check_chunk(self) -> None:
        if self._signed:
            signature = self._verified.sign_chunk(self._previous, self._digest.hexdigest())
            _compare(signature, self._expected)
            self._previous = signature

    def _check_trailer(self) -> None:
        if self._signed and self._trailing:
            given = self._trailer.pop("x-amz-trailer-signature", "")
            text = "".join(f"{name}:{value}\n" for name, value in self._trailer.items())
            signature = self._verified.sign_trailer(self._previous, sha256(text.encode("latin-1")).hexdigest())
            _compare(signature, given.encode("latin-1"))


def _compare(signature: str, given: bytes) -> None:
    if not hmac.compare_digest(signature.encode(), given):
        raise Refused("SignatureDoesNotMatch", "the signature of a part of the aws-chunked body does not fit it")
