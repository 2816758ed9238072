"""Offloaded data: objects by URI. The one face of the object store for the rest of the server."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
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

    def md5(self, key: str) -> str: ...

    def delete(self, key: str) -> None: ...

    def list(self, prefix: str) -> Iterator[tuple[str, Meta]]: ...


class Blobs:
    """The objects of the server's bucket, and of others that it may use, by their URIs ``<bucket>/<key>``.

    Every method raises `Invalid` for a URI that is in none of these buckets, and `Unavailable` if the store cannot be
    used.
    """

    def __init__(
        self, store: Path | Objects, bucket: str = "s3://alula", others: Mapping[str, Objects] | None = None
    ) -> None:
        """``store``: a folder, in which the bucket is a folder again; or where else objects live."""
        self.base = check_bucket(bucket)
        home = Folder(store, self.base.removeprefix("s3://")) if isinstance(store, Path) else store
        self._places: Mapping[str, Objects] = {self.base: home, **(others or {})}
        self.buckets = tuple(self._places)

    def _find(self, uri: str) -> tuple[Objects, str]:
        bucket, key = parse(uri, self.buckets)
        return self._places[bucket], key

    def join(self, *names: str) -> str:
        """The URI of the object at this path. `Invalid` if no object can be there."""
        return join(self.base, *names)

    async def get(self, uri: str, *, limit: int = LIMIT) -> bytes:
        """The whole object. `NotFound`; `Exhausted` if it has more than ``limit`` bytes."""
        objects, key = self._find(uri)
        near = min(limit, objects.near)
        if near:
            try:
                return objects.read(key, near)
            except Exhausted:
                if near == limit:
                    raise
        return await asyncio.to_thread(objects.read, key, limit)

    async def put(self, uri: str, data: bytes) -> None:
        """Put an object, in one step: readers see the old one or the new one. `Exhausted` if the disk is full."""
        objects, key = self._find(uri)
        if len(data) <= objects.near:
            objects.write(key, data)
        else:
            await asyncio.to_thread(objects.write, key, data)

    async def head(self, uri: str) -> Meta | None:
        """What is known of an object; ``None`` if there is none."""
        objects, key = self._find(uri)
        return objects.stat(key) if objects.near else await asyncio.to_thread(objects.stat, key)

    async def exists(self, uri: str) -> bool:
        """Whether there is such an object."""
        return await self.head(uri) is not None

    async def md5(self, uri: str) -> str:
        """The MD5 of an object's data, in hex. `NotFound`."""
        objects, key = self._find(uri)
        return await asyncio.to_thread(objects.md5, key)

    async def delete(self, uri: str) -> None:
        """Remove an object; fine if there is none."""
        objects, key = self._find(uri)
        await asyncio.to_thread(objects.delete, key)

    async def list(self, prefix: str) -> AsyncIterator[tuple[str, Meta]]:
        """The URIs that start so (``<bucket>/`` and any text), in order, each with what is known of the object."""
        bucket, start = parse_prefix(prefix, self.buckets)
        found = self._places[bucket].list(start)
        while batch := await asyncio.to_thread(_take, found):
            for key, meta in batch:
                yield f"{bucket}/{key}", meta

    async def ping(self) -> None:
        """Really use the store: put, get and remove a tiny object. `Unavailable` or `Exhausted` says what is wrong."""
        name, data = f".ping/{secrets.token_hex(8)}", secrets.token_bytes(16)
        await asyncio.to_thread(_ping, self._places[self.base], name, data)


def _ping(objects: Objects, key: str, data: bytes) -> None:
    objects.write(key, data)
    seen = objects.read(key, len(data))
    objects.delete(key)
    if seen != data:
        raise Unavailable("the object store gives back other data than were put: check its disk")


def _take(found: Iterator[tuple[str, Meta]]) -> list[tuple[str, Meta]]:
    return list(islice(found, _BATCH))
