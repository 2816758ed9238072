"""A file that is being written and that nobody sees until it takes its name, in one step."""

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterator, Mapping
from typing import Self

from alula.core.errors import Exhausted, Unavailable
from alula.core.record import trailer

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextlib.contextmanager
def disk_errors() -> Iterator[None]:
    """Say what the disk says in words of the domain: `Exhausted` if it is full, else `Unavailable`."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise Exhausted("the disk of the object store is full: free some space and try again") from error
        raise Unavailable(f"the object store cannot be used: {error.strerror or error}") from error


class Staged:
    """A context manager: leaving it before `move` leaves nothing behind. Not for two threads at a time."""

    def __init__(self, path: str, *, durable: bool) -> None:
        self._path = path
        self._durable = durable
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._moved = False
        self.size = 0
        with disk_errors():
            self._file = open(path, "xb", buffering=0)  # noqa: SIM115 - closed by __exit__

    def write(self, data: bytes) -> None:
        """Append to the object. `Exhausted` if the disk is full."""
        self._md5.update(data)
        self.size += len(data)
        self._append(data)

    @property
    def md5(self) -> bytes:
        """The digest of what was written so far."""
        return self._md5.digest()

    def finish(self, headers: Mapping[str, str], etag: str | None) -> None:
        """Write what is known of the object; if it is durable, wait until all of it is on the disk."""
        self._append(trailer(etag or self._md5.hexdigest(), headers))
        if self._durable:
            with disk_errors():
                os.fsync(self._file.fileno())

    def move(self, path: str) -> None:
        """Take the name ``path``, whoever had it before. Its folder is made if need be."""
        with disk_errors():
            try:
                os.replace(self._path, path)
            except FileNotFoundError:
                os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
                os.replace(self._path, path)
        self._moved = True

    def settle(self, path: str) -> None:
        """If it is durable, wait until its name is on the disk too."""
        if not self._durable:
            return
        with disk_errors():
            folder = os.open(os.path.dirname(path), os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def _append(self, data: bytes) -> None:
        left = memoryview(data)
        with disk_errors():
            while left:
                left = left[self._file.write(left) :]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if not self._moved:
            os.unlink(self._path)
