"""Environments on disk: which there are, who uses or builds them, and how they go.

    folder/<digest>/environment.json  written last: a folder without it is none, whatever ended its build
                    used              an empty file; its time is that of the last use
                    venv/             the packages; built in place, as scripts in it name it
                    root/             the image's files, as if it were /
    folder/leases/<digest>/<name>     a link to the folder of an attempt that runs in it; void once that is gone
    folder/locks/<digest>             held exclusively by who builds or removes it, shared while a lease is made

Locks are the kernel's: whatever dies leaves none. Everything here may be called from several processes at once.
"""

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alula.executors.process.environment import Environment

_MARKER, _USED = "environment.json", "used"
_LEASES, _LOCKS = "leases", "locks"


@dataclass(frozen=True, slots=True)
class Kept:
    """A complete environment: its size in bytes, and when it was last used, in seconds since 1970."""

    digest: str
    size: int
    used: float


@dataclass(frozen=True, slots=True)
class Store:
    """The folder of them."""

    folder: Path

    def place(self, digest: str) -> Path:
        """Where an environment is, or is to be."""
        return self.folder / digest

    def find(self, digest: str) -> Environment | None:
        """An environment, if it is complete, is where it was built, and its Python is still there."""
        place = self.place(digest)
        try:
            said = json.loads((place / _MARKER).read_bytes())
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None
        binaries = place / "venv" / "bin"
        if said["place"] != str(place) or not (binaries / "python").exists():
            return None
        pairs = tuple((str(name), str(value)) for name, value in said["env"])
        return Environment(
            binaries, binaries / "python", said["python"], said["sdk"], digest, pairs, place / "root", said["workdir"]
        )

    def complete(self, digest: str, said: dict[str, Any]) -> None:
        """Say that an environment is whole. Its builder says so, as its last word."""
        place = self.place(digest)
        said = {**said, "place": str(place), "size": _size(place), "built": time.time()}
        (place / _USED).touch()
        partial = place / f"{_MARKER}.part"
        with partial.open("w") as file:
            json.dump(said, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(place / _MARKER)

    @contextmanager
    def building(self, digest: str) -> Iterator[int | None]:
        """The right to build an environment, if nobody has it: the descriptor of its lock, for the builder's children.

        The lock is free only when all of them have ended: nobody writes into what others build again.
        """
        with self._lock(digest, fcntl.LOCK_EX | fcntl.LOCK_NB) as lock:
            yield lock

    def wait(self, digest: str) -> None:
        """Returns when nobody builds or removes an environment any more."""
        with self._lock(digest, fcntl.LOCK_SH):
            pass

    def clear(self, digest: str) -> Path:
        """An empty place for an environment; its lock is held."""
        place = self.place(digest)
        (place / _MARKER).unlink(missing_ok=True)
        _remove(place)
        place.mkdir(parents=True)
        return place

    def lease(self, digest: str, attempt: Path) -> Environment | None:
        """An environment, if it is complete; kept for as long as the folder of the attempt exists. Never waits."""
        with self._lock(digest, fcntl.LOCK_SH | fcntl.LOCK_NB) as lock:
            found = self.find(digest)
            if lock is None or found is None:
                return None
            attempt.mkdir(mode=0o700, parents=True, exist_ok=True)
            leases = self.folder / _LEASES / digest
            leases.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):
                (leases / attempt.name).symlink_to(attempt)
            (self.place(digest) / _USED).touch()
            return found

    def kept(self) -> list[Kept]:
        """The complete environments, the least recently used one first."""
        found = []
        for place in self._places():
            with suppress(FileNotFoundError, ValueError):
                said = json.loads((place / _MARKER).read_bytes())
                found.append(Kept(place.name, said["size"], (place / _USED).stat().st_mtime))
        return sorted(found, key=lambda one: one.used)

    def shrink(self, budget: int) -> list[Kept]:
        """Remove what is not used, the least recently used one first, until all of it fits; what was removed.

        What a crash left half built goes, too.
        """
        for place in self._places():
            if not (place / _MARKER).exists():
                self._remove(place.name, complete=False)
        kept = self.kept()
        total = sum(one.size for one in kept)
        removed = []
        for one in kept:
            if total <= budget:
                break
            if self._remove(one.digest, complete=True):
                total -= one.size
                removed.append(one)
        return removed

    def _remove(self, digest: str, *, complete: bool) -> bool:
        """Remove an environment that nobody uses or builds; whether that is so."""
        with self._lock(digest, fcntl.LOCK_EX | fcntl.LOCK_NB) as lock:
            place = self.place(digest)
            if lock is None or self._leased(digest) or (place / _MARKER).exists() != complete:
                return False
            (place / _MARKER).unlink(missing_ok=True)
            _remove(place)
            return True

    def _leased(self, digest: str) -> bool:
        leases = self.folder / _LEASES / digest
        with suppress(FileNotFoundError):
            for lease in list(leases.iterdir()):
                if lease.exists():
                    return True
                lease.unlink(missing_ok=True)
        return False

    def _places(self) -> list[Path]:
        with suppress(FileNotFoundError):
            return [path for path in self.folder.iterdir() if path.name not in (_LEASES, _LOCKS)]
        return []

    @contextmanager
    def _lock(self, digest: str, how: int) -> Iterator[int | None]:
        path = self.folder / _LOCKS / digest
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(lock, how)
            except BlockingIOError:
                yield None
            else:
                yield lock
        finally:
            os.close(lock)


def _size(folder: Path) -> int:
    """Bytes on disk. Files that uv's cache has, too, count in full: the cache may be elsewhere, or gone tomorrow."""
    total = 0
    for path, _, files in os.walk(folder):
        for name in files:
            with suppress(OSError):
                total += os.lstat(os.path.join(path, name)).st_blocks * 512
    return total


def _remove(place: Path) -> None:
    with suppress(FileNotFoundError):
        shutil.rmtree(place)
