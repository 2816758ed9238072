"""Objects as files in a folder: one file each, replaced in one step, never changed in place.

A reader that has opened an object reads it to its end, whatever is put or deleted meanwhile.
"""

import hashlib
import os
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Self

from alula.blobs.names import Query, path_of, walk
from alula.blobs.record import Meta, read_meta
from alula.blobs.staged import Staged, disk_errors
from alula.blobs.uri import check_bucket
from alula.core.errors import Conflict, Exhausted, NotFound

_STAGING = ".staging"  # no bucket starts with a dot
_CHUNK = 1024 * 1024

Condition = Callable[[Meta | None], bool]
"""Whether a change may be made, given what is there now."""


class Opened:
    """An object that is being read. A context manager."""

    def __init__(self, file: BinaryIO, meta: Meta) -> None:
        self._file = file
        self.meta = meta

    def read(self, start: int, count: int) -> bytes:
        """At most ``count`` bytes from ``start``; fewer only at the end of the object."""
        with disk_errors():
            return os.pread(self._file.fileno(), max(0, min(count, self.meta.size - start)), start)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


class Folder:
    """The objects of one bucket. Synchronous; one on a small object takes 10 to 100 microseconds.

    One `Folder` for a folder at a time: its lock orders puts, their conditions and deletes.
    """

    near = 256 * 1024
    """Objects up to this many bytes are read and written faster than a thread is woken."""

    def __init__(self, root: Path, bucket: str = "alula") -> None:
        self.root = root
        check_bucket(f"s3://{bucket}")
        self.bucket = bucket
        self._top = str(root / bucket)
        self._staging = str(root / _STAGING)
        self._lock = threading.Lock()
        with disk_errors():
            for folder in (str(root), self._top, self._staging):
                os.makedirs(folder, mode=0o700, exist_ok=True)

    def sweep(self) -> int:
        """Remove what a crash left half written; how many files. For the start, before anything is put."""
        with disk_errors():
            left = list(Path(self._staging).iterdir())
            for path in left:
                path.unlink()
        return len(left)

    def open(self, key: str) -> Opened:
        """Open an object for reading, as it is now. `NotFound` if there is none."""
        opened = _open(path_of(self._top, key))
        if opened is None:
            raise NotFound(f"there is no object s3://{self.bucket}/{key}")
        return opened

    def stat(self, key: str) -> Meta | None:
        """What is known of an object; ``None`` if there is none."""
        return _stat(path_of(self._top, key))

    def stage(self, *, durable: bool = True) -> Staged:
        """Begin an object; `commit` gives it its name."""
        return Staged(f"{self._staging}/{secrets.token_hex(8)}", durable=durable)

    def commit(
        self,
        staged: Staged,
        key: str,
        headers: Mapping[str, str],
        *,
        etag: str | None = None,
        condition: Condition | None = None,
    ) -> None:
        """Make a staged object the object of that key, in one step. `Conflict` if the condition does not hold."""
        path = path_of(self._top, key)
        staged.finish(headers, etag)
        with self._lock:
            self._check(key, path, condition)
            staged.move(path)
        staged.settle(path)

    def read(self, key: str, limit: int) -> bytes:
        """The whole object. `NotFound`; `Exhausted` if it has more than ``limit`` bytes."""
        with self.open(key) as opened:
            size = opened.meta.size
            if size > limit:
                raise Exhausted(f"object s3://{self.bucket}/{key} has {size} bytes, more than the {limit} taken here")
            return opened.read(0, size)

    def write(self, key: str, data: bytes) -> None:
        """Put a whole object, in one step. It survives a crash of this process; a loss of power may undo it."""
        with self.stage(durable=False) as staged:
            staged.write(data)
            self.commit(staged, key, {})

    def delete(self, key: str, condition: Condition | None = None) -> None:
        """Remove an object, if there is one. `Conflict` if the condition does not hold."""
        path = path_of(self._top, key)
        with disk_errors(), self._lock:
            self._check(key, path, condition)
            try:
                os.unlink(path)
            except FileNotFoundError:
                return
            _prune(os.path.dirname(path), self._top)

    def copy(
        self,
        source: str,
        target: str,
        headers: Mapping[str, str] | None = None,
        condition: Condition | None = None,
    ) -> None:
        """Put a copy, in one step; with the headers of the original if none are given. `NotFound`, `Conflict`."""
        with self.open(source) as opened, self.stage() as staged:
            for start in range(0, opened.meta.size, _CHUNK):
                staged.write(opened.read(start, _CHUNK))
            self.commit(staged, target, opened.meta.headers if headers is None else headers, condition=condition)

    def md5(self, key: str) -> str:
        """The MD5 of an object's data, in hex. `NotFound`."""
        digest = hashlib.md5(usedforsecurity=False)
        with self.open(key) as opened:
            for start in range(0, opened.meta.size, _CHUNK):
                digest.update(opened.read(start, _CHUNK))
        return digest.hexdigest()

    def list(self, prefix: str) -> Iterator[tuple[str, Meta]]:
        """Every object whose key starts so, in order, as it is when its turn comes."""
        for name, meta in self.walk(Query(prefix)):
            if meta is not None:
                yield name, meta

    def walk(self, query: Query) -> Iterator[tuple[str, Meta | None]]:
        """Names in order: a key and what is known of the object, or a folder's prefix and ``None``."""
        with disk_errors():
            for found in walk(self._top, query):
                meta = _stat(found.path) if found.path else None
                if meta is not None or found.path is None:
                    yield found.name, meta

    def _check(self, key: str, path: str, condition: Condition | None) -> None:
        if condition is not None and not condition(_stat(path)):
            raise Conflict(f"object s3://{self.bucket}/{key} is not as the condition of the request demands")


def _open(path: str) -> Opened | None:
    with disk_errors():
        try:
            file = open(path, "rb", buffering=0)  # noqa: SIM115 - closed by Opened.__exit__
        except FileNotFoundError:
            return None
        meta = read_meta(file.fileno())
    if meta is None:  # cut short by a crash of the machine: it was never completely there
        file.close()
        return None
    return Opened(file, meta)


def _stat(path: str) -> Meta | None:
    opened = _open(path)
    if opened is None:
        return None
    with opened:
        return opened.meta


def _prune(folder: str, top: str) -> None:
    while folder != top:
        try:
            os.rmdir(folder)
        except OSError:  # not empty
            return
        folder = os.path.dirname(folder)
