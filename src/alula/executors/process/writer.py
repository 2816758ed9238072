"""Writes a log to segments: files that follow each other when they have grown enough. Standard library only."""

import os
from pathlib import Path

KEPT = "kept"  # the folder that segments go to when they are archived
SIZE = 16 * 1024 * 1024  # bytes after which a segment is followed by the next


def path(folder: Path, name: str, number: int) -> Path:
    """The file of a segment."""
    return folder / (f"{name}.log.{number}" if number else f"{name}.log")


class Writer:
    """A log as it is written; one that is there already is written on.

    Raises:
        OSError: from every method: the disk does not take it.
    """

    def __init__(self, folder: Path, name: str, size: int = SIZE) -> None:
        self._folder, self._name, self._size = folder, name, size
        self._number = 0
        while path(folder, name, self._number + 1).exists() or path(folder.parent / KEPT, name, self._number).exists():
            self._number += 1
        self._file = self._open()

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        file = os.open(path(self._folder, self._name, self._number), flags, 0o600)
        self._room = self._size - os.fstat(file).st_size
        return file

    def write(self, lines: bytes) -> None:
        """Append whole lines."""
        if self._room <= 0:
            self._number += 1
            file, self._file = self._file, self._open()
            os.close(file)
        self._room -= len(lines)
        rest = memoryview(lines)
        while rest:
            rest = rest[os.write(self._file, rest) :]

    def close(self) -> None:
        os.close(self._file)
