"""One server for each home: who has it, and how others know."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from alula.core.errors import Conflict
from alula.executors.process import tree

_NAME = "lock"


@dataclass(frozen=True, slots=True)
class Holder:
    """The server that has a home; ``started`` tells its process from a later one of that number."""

    pid: int
    started: int

    @property
    def alive(self) -> bool:
        return tree.started(self.pid) == self.started and tree.alive(self.pid)


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """Hold the home for as long as this process lives; the system lets go of it, however the process ends.

    Raises:
        Conflict: another process has it.
    """
    with (home / _NAME).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            holder = file.readline().strip() or "another process"
            advice = "stop that, or name another folder with --home (in a file: server.home, or server.name)"
            raise Conflict(f"{home} is in use by {holder}: {advice}") from None
        file.truncate(0)
        file.write(f"alula, process {os.getpid()}\n{tree.started(os.getpid())}\n")
        file.flush()
        yield


def holder(home: Path) -> Holder | None:
    """Who has the home now, if anybody."""
    try:
        lines = (home / _NAME).read_text().splitlines()
        found = Holder(int(lines[0].rpartition(" ")[2]), int(lines[1]))
    except (FileNotFoundError, IndexError, ValueError):
        return None
    return found if found.pid > 0 and found.alive else None
