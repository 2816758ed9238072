"""Offloaded data: objects by URI. The one face of the object store for the rest of the server."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from pathlib import Path
from typing import Protocol

from alula.blobs.folder import Folder
from alula.blobs.record import Meta
from alula.blobs.uri import check_bucket, join, parse, parse_prefix
from alula.core.errors import Exhausted, Unavailable

LIMIT = 64 * 1024 * 1024
_BATCH = 500


class Objects(Protocol):
    """Where objects live, by key: a `Folder`, or a `Cloud`. Synchronous, and safe to call from any thread."""

    @property
    def near(self) -> int:
        """Objects up to this many bytes are read and written at once; larger ones in a thread."""
        ...

    def read(self, key: str, limit: int) -> bytes: ...

    def write(self, key: str, data: bytes) -> None: ...

    def stat(self, key: str) -> Meta | None: ...

    def delete(self, key: str) -> None: ...

    def copy(self, source: str, target: str) -> None: ...

    def list(self, prefix: str) -> Iterator[tuple[str, Meta]]: ...


class Blobs:
    """The objects of one bucket, by their URIs ``s3://<bucket>/<key>``.

    Every method raises `Invalid` for a URI that is not of this bucket, and `Unavailable` if the store cannot be used.
    """

    def __init__(self, store: Path | Objects, bucket: str = "alula") -> None:
        """``store``: a folder, in which the bucket is a folder again; or where else objects live."""
        self.bucket = check_bucket(bucket)
        self._objects = Folder(store, bucket) if isinstance(store, Path) else store

    @property
    def base(self) -> str:
        """The URI of the bucket, without a slash at its end."""
        return f"s3://{self.bucket}"

    def join(self, *names: str) -> str:
        """The URI of the object at this path. `Invalid` if no object can be there."""
        return join(self.base, *names)

    async def get(self, uri: str, *, limit: int = LIMIT) -> bytes:
        """The whole object. `NotFound`; `Exhausted` if it has more than ``limit`` bytes."""
        key = parse(uri, self.bucket)
        near = min(limit, self._objects.near)
        if near:
            try:
                return self._objects.read(key, near)
            except Exhausted:
                if near == limit:
                    raise
        return await asyncio.to_thread(self._objects.read, key, limit)

    async def put(self, uri: str, data: bytes) -> None:
        """Put an object, in one step: readers see the old one or the new one. `Exhausted` if the disk is full."""
        key = parse(uri, self.bucket)
        if len(data) <= self._objects.near:
            self._objects.write(key, data)
        else:
            await asyncio.to_thread(self._objects.write, key, data)

    async def head(self, uri: str) -> Meta | None:
        """What is known of an object; ``None`` if there is none."""
        key = parse(uri, self.bucket)
        return self._objects.stat(key) if self._objects.near else await asyncio.to_thread(self._objects.stat, key)

    async def exists(self, uri: str) -> bool:
        """Whether there is such an object."""
        return await self.head(uri) is not None

    async def delete(self, uri: str) -> None:
        """Remove an object; fine if there is none."""
        await asyncio.to_thread(self._objects.delete, parse(uri, self.bucket))

    async def copy(self, source: str, target: str) -> None:
        """Put a copy of an object, in one step. `NotFound`."""
        await asyncio.to_thread(self._objects.copy, parse(source, self.bucket), parse(target, self.bucket))

    async def list(self, prefix: str) -> AsyncIterator[tuple[str, Meta]]:
        """The URIs that start so (``s3://<bucket>/`` and any text), in order, each with what is known of the object."""
        found = self._objects.list(parse_prefix(prefix, self.bucket))
        while batch := await asyncio.to_thread(_take, found):
            for key, meta in batch:
                yield f"{self.base}/{key}", meta

    async def ping(self) -> None:
        """Really use the store: put, get and remove a tiny object. `Unavailable` or `Exhausted` says what is wrong."""
        name, data = f".ping/{secrets.token_hex(8)}", secrets.token_bytes(16)
        await asyncio.to_thread(self._ping, name, data)

    def _ping(self, key: str, data: bytes) -> None:
        self._objects.write(key, data)
        seen = self._objects.read(key, len(data))
        self._objects.delete(key)
        if seen != data:
            raise Unavailable("the object store gives back other data than were put: check its disk")


def _take(found: Iterator[tuple[str, Meta]]) -> list[tuple[str, Meta]]:
    return list(islice(found, _BATCH))
