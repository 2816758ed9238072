"""Logs of attempts in the object store: below `logs/`, one compressed object for each segment.

    logs/<attempt>.<number>.gz        a segment that another follows
    logs/<attempt>.<number>.last.gz   the last one

Attempts' names are unique for ever, so nothing else of a name is needed.
"""

import asyncio
import gzip
import zlib
from contextlib import suppress

from alula.blobs.store import Blobs
from alula.core.errors import NotFound
from alula.core.launch import Segment

_LEVEL = 4  # what a higher one saves is not worth its time
_LARGEST = 64 * 1024 * 1024  # bytes of a segment: whoever has the store's keys may have put anything there


def pack(data: bytes) -> bytes:
    """A segment's bytes as they are archived. Takes its time."""
    return gzip.compress(data, _LEVEL, mtime=0)


class Archive:
    """Keeps the promise of `executors.base.Archive`, and puts what is kept."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    async def put(self, segment: Segment, packed: bytes) -> None:
        """Archive a segment, `pack`ed. Doing it again changes nothing."""
        await self._blobs.put(self._uri(segment), packed)

    async def get(self, name: str, number: int) -> tuple[bytes, bool] | None:
        """See `executors.base.Archive.get`."""
        for last in (True, False):  # most logs have one segment
            with suppress(NotFound):
                packed = await self._blobs.get(self._uri(Segment(name, number, last)))
                return await asyncio.to_thread(_unpacked, packed), last
        return None

    async def forget(self, name: str) -> bool:
        """See `executors.base.Archive.forget`. The last segments go first: what a crash leaves is found again."""
        there: list[str] = []
        while uri := await self._there(name, len(there)):
            there.append(uri)
        for uri in reversed(there):
            await self._blobs.delete(uri)
        return bool(there)

    async def _there(self, name: str, number: int) -> str:
        for last in (True, False):
            uri = self._uri(Segment(name, number, last))
            if await self._blobs.exists(uri):
                return uri
        return ""

    def _uri(self, segment: Segment) -> str:
        return self._blobs.join("logs", f"{segment.name}.{segment.number}{'.last' if segment.last else ''}.gz")


def _unpacked(packed: bytes) -> bytes:
    try:
        return zlib.decompressobj(wbits=31).decompress(packed, _LARGEST)
    except zlib.error:
        return b""
