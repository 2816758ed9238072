"""Logs as files, one for each segment: what is finished can be archived while the rest is still written.

    home/logs/<name>.log, <name>.log.1, ...   segments that are not archived yet
    home/kept/<name>.log, <name>.log.1, ...   copies of archived ones; the least recently read go when they are too many

A segment only ever moves from `logs` to `kept` to the archive alone: who looks in that order finds it.
"""

import os
import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from alula.core.launch import Segment
from alula.executors.process import records, usage
from alula.executors.process.writer import KEPT, path

_FILE = re.compile(r"(?P<name>.+)\.log(?:\.(?P<number>\d+))?")


def over(attempt: Path) -> bool:
    """Whether the attempt of this folder has ended, and nothing more is written to its log."""
    return (attempt / records.END).exists() or not (attempt / records.MARKER).exists()


@dataclass(frozen=True, slots=True)
class Segments:
    """The segments in an executor's home. Every method may block, and may be called from any thread."""

    home: records.Home

    @property
    def _kept(self) -> Path:
        return self.home.path / KEPT

    def find(self, name: str, number: int) -> Path | None:
        """Where a segment is; ``None``: not here."""
        places = (path(folder, name, number) for folder in (self.home.logs, self._kept))
        return next((place for place in places if place.exists()), None)

    def remove(self, name: str) -> bool:
        """Remove all of a log; whether there was any."""
        there = [number for number in self._numbers(name) if self.find(name, number)]
        for number in reversed(there):
            for folder in (self.home.logs, self._kept):
                path(folder, name, number).unlink(missing_ok=True)
        return bool(there)

    def _numbers(self, name: str) -> Iterator[int]:
        number = 0
        while number == 0 or self.find(name, number) is not None:
            yield number
            number += 1

    def finished(self) -> list[Segment]:
        """See `Archivable.finished`."""
        found: list[Segment] = []
        for name, numbers in _by_name(self.home.logs).items():
            *done, newest = sorted(numbers)
            found += [Segment(name, number) for number in done]
            if not over(self.home.attempt(name)):
                continue
            followed = self.find(name, newest + 1) is not None  # it may have grown since the folder was read
            found.append(Segment(name, newest, last=not followed))
        return found

    def read(self, segment: Segment) -> bytes | None:
        """See `Archivable.read`."""
        try:
            return path(self.home.logs, segment.name, segment.number).read_bytes()
        except FileNotFoundError:
            return None

    def archived(self, segment: Segment) -> bool:
        """See `Archivable.archived`."""
        self._kept.mkdir(mode=0o700, exist_ok=True)
        here, there = (path(folder, segment.name, segment.number) for folder in (self.home.logs, self._kept))
        try:
            here.rename(there)
        except FileNotFoundError:
            return False
        return True

    def shrink(self, size: int) -> int:
        """See `Archivable.shrink`. There may be very many: nothing is remembered of them while there is room."""
        excess = sum(_room(seen) for _, _, seen in self._copies()) - size
        if excess <= 0:
            return 0
        logs: dict[str, tuple[float, int, int]] = {}  # when it was last read, its bytes, its last segment
        for name, number, seen in self._copies():
            read, used, last = logs.get(name, (0.0, 0, 0))
            logs[name] = (max(read, seen.st_mtime), used + _room(seen), max(last, number))
        removed = 0
        for name in sorted(logs, key=logs.__getitem__):
            if removed >= excess:
                break
            _, used, last = logs[name]
            if over(self.home.attempt(name)):
                for number in range(last, -1, -1):  # what a crash leaves begins with the beginning
                    path(self._kept, name, number).unlink(missing_ok=True)
                removed += used
        return removed

    def _copies(self) -> Iterator[tuple[str, int, os.stat_result]]:
        if not self._kept.exists():
            return
        for name, number, entry in _entries(self._kept):
            with suppress(FileNotFoundError):  # forgotten meanwhile
                yield name, number, entry.stat()


def _room(seen: os.stat_result) -> int:
    """Small files take more room than they have bytes."""
    return seen.st_blocks * 512


def touch(file: Path) -> None:
    """A log is read: it is not the next to go."""
    with suppress(OSError):
        os.utime(file)


def keep(home: records.Home, names: Collection[str]) -> None:
    """Remove the logs of all others, and what they used."""
    segments = Segments(home)
    usage.keep(home.path, names)
    for name in _by_name(home.logs).keys() - names:
        segments.remove(name)


def _by_name(folder: Path) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for name, number, _ in _entries(folder):
        found.setdefault(name, []).append(number)
    return found


def _entries(folder: Path) -> Iterator[tuple[str, int, os.DirEntry[str]]]:
    """The segments in a folder: of which log, and which of it."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if (match := _FILE.fullmatch(entry.name)) is not None:
                yield match["name"], int(match["number"] or 0), entry
