"""The logs of attempts that share a process: in a folder of their own while they are written, then with all others.

Only so may whoever looks after finished logs take each log that it finds for one.
"""

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from alula.executors.process import loglines, records
from alula.executors.process.reuse.output import Log
from alula.executors.process.segments import Segments
from alula.executors.process.writer import path

_TAIL_LINES, _TAIL_BYTES = 80, 2048
_LOOK = 1 << 15  # bytes at a log's end that hold its last lines


class Logs:
    """Those of one home. Every method but `begun` may block."""

    def __init__(self, home: records.Home) -> None:
        self._home = home
        self.folder = home.path / "shared"
        self.segments = _Places(home, self.folder)
        self._places = (str(self.folder), str(home.logs), str(home.path / "kept"))

    def prepare(self) -> None:
        self.folder.mkdir(mode=0o700, exist_ok=True)

    def begun(self, name: str) -> datetime | None:
        """When the log was begun, if there is one."""
        if not any(os.path.exists(f"{folder}/{name}.log") for folder in self._places):  # asked for each attempt
            return None
        found = self.segments.find(name, 0)
        assert found is not None, "a log only moves on to where it is looked for next"
        with found.open("rb") as file:
            first = next(loglines.decode(file.readline().rstrip(b"\n")), None)
        return datetime.fromtimestamp(first.at_ns / 1_000_000_000 if first is not None else 0, UTC)

    def size(self, name: str) -> int:
        """Bytes of a log that is being written; 0: nothing was."""
        try:
            return os.path.getsize(path(self.folder, name, 0))
        except FileNotFoundError:
            return 0

    def conclude(self, name: str, rest: bytes, secrets: Sequence[str], say: str) -> str:
        """Write what an attempt that could not end by itself printed last, and how it ended; returns its last lines."""
        log = Log(str(path(self.folder, name, 0)), _LOOK * 4, secrets, lambda: None)
        log.write(rest)
        log.close()
        tail = _tail(path(self.folder, name, 0))
        log = Log(str(path(self.folder, name, 0)), _LOOK, (), lambda: None)
        log.say(say)
        log.close()
        path(self.folder, name, 0).rename(path(self._home.logs, name, 0))
        return tail or say

    def adopt(self, held: Collection[str]) -> None:
        """Conclude the logs that nobody writes to any more: their worker ended when no server was there to see it."""
        for file in self.folder.glob("*.log"):
            name = file.name.removesuffix(".log")
            if name not in held:
                self.conclude(name, b"", (), "lost: its worker is gone, and nobody saw how it ended")


@dataclass(frozen=True, slots=True)
class _Places(Segments):
    """Where a log may be. It only ever moves on from here to where others look."""

    folder: Path

    def find(self, name: str, number: int) -> Path | None:
        here = path(self.folder, name, number)
        return here if here.exists() else Segments.find(self, name, number)


def _tail(file: Path) -> str:
    """The last lines of what was printed."""
    with file.open("rb") as opened:
        opened.seek(0, 2)
        opened.seek(max(0, opened.tell() - _LOOK))
        entries = loglines.decode(opened.read())
    printed = b"".join(entry.content for entry in entries if entry.stream == loglines.STDOUT)[-_TAIL_BYTES:]
    return b"".join(printed.splitlines(keepends=True)[-_TAIL_LINES:]).decode("utf-8", "replace")
