"""The body of a request: taken as it comes, decoded, and held against everything the request says of it."""

import base64
import binascii
import hashlib
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Protocol

from alula.api.objects.chunked import Chunks
from alula.api.objects.errors import S3Error
from alula.api.objects.threads import run
from alula.blobs.sigv4 import UNSIGNED, Verified

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

_PIECE = 1024 * 1024  # bytes kept in memory at a time
_NEAR = 64 * 1024  # bytes hashed and written faster than a thread is woken
_DRAINED = 64 * 1024 * 1024  # bytes taken of a body that nobody wants
_CHECKSUM = "x-amz-checksum-"


class Gone(Exception):
    """The client went away in the middle of its request; there is nobody to answer."""


class Intake:
    """What a client sends, and whether that is all of it."""

    def __init__(self, receive: Receive, headers: Mapping[str, str]) -> None:
        self._receive = receive
        self._waits = "100-continue" in headers.get("expect", "").lower()
        self._ended = False

    async def take(self) -> bytes | None:
        """The next bytes of the body; ``None`` after its end. `Gone` if the client went away before that."""
        if self._ended:
            return None
        message = await self._receive()
        self._waits = False
        if message["type"] == "http.disconnect":
            raise Gone
        self._ended = not message.get("more_body")
        data: bytes = message.get("body", b"")
        return data

    async def drain(self) -> bool:
        """Take what nobody took: many clients send all of it before they read an answer. Whether that was the end.

        A client that waits to be told to go on is not told so, and one that sends too much is not waited for.
        """
        if self._waits:
            return False
        size = 0
        while size <= _DRAINED and (data := await self.take()) is not None:
            size += len(data)
        return self._ended


class _Digest(Protocol):
    def update(self, data: bytes, /) -> None: ...

    def digest(self) -> bytes: ...


class Body:
    """Can be taken once: by `save` or by `read`."""

    def __init__(self, intake: Intake, headers: Mapping[str, str], verified: Verified) -> None:
        self._intake = intake
        self._headers = headers
        streaming = verified.payload.startswith("STREAMING-")
        self._chunks = Chunks(verified) if streaming else None
        self._digests = _digests(headers, verified.payload)

    async def save(self, write: Callable[[bytes], None]) -> None:
        """Hand the data to ``write``, piece by piece. They count only once this has returned: the end is checked last.

        Raises:
            Gone: the client went away.
            S3Error: the body is not what the request says.
        """

        def take(piece: bytes) -> None:
            for digest, _ in self._digests.values():
                digest.update(piece)
            write(piece)

        size = 0
        async for piece in self._pieces():
            size += len(piece)
            if len(piece) <= _NEAR:
                take(piece)
            else:
                await run(take, piece)
        self._check(size)

    async def read(self, limit: int) -> bytes:
        """All of it, for a small document."""
        pieces: list[bytes] = []

        def keep(piece: bytes) -> None:
            pieces.append(piece)
            if sum(map(len, pieces)) > limit:
                raise S3Error("EntityTooLarge", f"the document has more than {limit} bytes")

        await self.save(keep)
        return b"".join(pieces)

    async def _pieces(self) -> AsyncIterator[bytes]:
        waiting: list[bytes] = []
        size = 0
        async for data in self._raw():
            decoded = self._chunks.feed(data) if self._chunks else data
            waiting.append(decoded)
            size += len(decoded)
            if size >= _PIECE:
                yield b"".join(waiting)
                waiting, size = [], 0
        if size:
            yield b"".join(waiting)

    async def _raw(self) -> AsyncIterator[bytes]:
        size = 0
        while (data := await self._intake.take()) is not None:
            size += len(data)
            if data:
                yield data
        if str(size) != self._headers.get("content-length", str(size)).strip():
            raise S3Error("IncompleteBody", f"the body has {size} bytes, not what Content-Length says")

    def _check(self, size: int) -> None:
        trailer = self._chunks.finish() if self._chunks else {}
        declared = self._headers.get("x-amz-decoded-content-length", str(size))
        if self._chunks and str(size) != declared:
            raise S3Error("IncompleteBody", f"the data have {size} bytes, not {declared}")
        for name, (digest, code) in self._digests.items():
            expected = self._headers.get(name) or trailer.get(name, "")
            if _spelled(name, digest) != expected:
                raise S3Error(code, f"{name}: the body that arrived is another: send it again")


class _Crc32:
    """CRC-32 as S3 spells it."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


# The others that S3 knows, CRC32C and CRC64NVME, are not in the standard library: they are taken on trust.
_CHECKSUMS: dict[str, Callable[[], _Digest]] = {"crc32": _Crc32, "sha1": hashlib.sha1, "sha256": hashlib.sha256}


def _digests(headers: Mapping[str, str], payload: str) -> dict[str, tuple[_Digest, str]]:
    """What to compute of the body, by the header or trailer that has the expected value; and a mismatch's code."""
    found: dict[str, tuple[_Digest, str]] = {}
    if "content-md5" in headers:
        _check_base64(headers["content-md5"], 16)
        found["content-md5"] = (hashlib.md5(usedforsecurity=False), "BadDigest")
    if payload != UNSIGNED and not payload.startswith("STREAMING-"):
        found["x-amz-content-sha256"] = (hashlib.sha256(), "XAmzContentSHA256Mismatch")
    trailing = headers.get("x-amz-trailer", "").lower().split(",")
    for name, make in _CHECKSUMS.items():
        header = _CHECKSUM + name
        if header in headers or header in map(str.strip, trailing):
            found[header] = (make(), "BadDigest")
    return found


def _spelled(name: str, digest: _Digest) -> str:
    value = digest.digest()
    return value.hex() if name == "x-amz-content-sha256" else base64.b64encode(value).decode()


def _check_base64(text: str, size: int) -> None:
    try:
        if len(base64.b64decode(text, validate=True)) == size:
            return
    except binascii.Error:
        pass
    raise S3Error("InvalidDigest", f"content-md5: must be {size} bytes in base64")
