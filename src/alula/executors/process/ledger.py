"""Where an attempt's time went. Its process writes down when each step begins, in memory that its supervisor can read
when it is over, however it ended. Standard library only.
"""

import ctypes
import mmap
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

QUEUE, BOOT, IMPORT, DOWNLOAD, USER, UPLOAD = STEPS = ("queue", "boot", "import", "download", "user", "upload")
_MODULES = "modules"
PROCESS = "process"  # all steps of a process that says nothing of them

_SIZE = 1 << 16
_MODULE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
_MOST_MODULES = 2000
_WORTH = 10_000_000  # nanoseconds; code that is imported faster needs no modules loaded ahead

# The SDK's own stopwatches, by name: which step begins when one starts, and when it stops.
_WATCHES: Mapping[str, tuple[str, str]] = {
    "download_code_bundle": (DOWNLOAD, BOOT),
    "load_task_from_tgz": (IMPORT, BOOT),
    "load_task_from_resolver": (IMPORT, BOOT),
    "load_pkl_task": (IMPORT, BOOT),
    "load_inputs": (DOWNLOAD, DOWNLOAD),
    "run_task": (USER, UPLOAD),
}

_mmap = ctypes.CDLL(None, use_errno=True).mmap
_mmap.restype = ctypes.c_void_p
_mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)


@dataclass(frozen=True, slots=True)
class Account:
    """What a process wrote down: steps with their beginnings, and third-party modules that its code imported."""

    stamps: Sequence[tuple[str, int]] = ()
    modules: Sequence[str] = ()


class Ledger:
    """The process's side. No descriptor of it stays open: user code could close it, and open another by its number."""

    def __init__(self, descriptor: int) -> None:
        found = _mmap(None, _SIZE, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, descriptor, 0)
        if found == ctypes.c_void_p(-1).value:
            raise OSError(ctypes.get_errno(), "the ledger cannot be mapped")
        self._at, self._end = found, found + _SIZE - 1
        self._owner = os.getpid()
        self._folders = tuple(folder for folder in sys.path if os.path.isabs(folder))
        self._importing: tuple[int, int] | None = None  # since when, and how many modules there were

    def note(self, step: str) -> None:
        """A step begins now."""
        now = time.monotonic_ns()
        self._write(f"{step} {now}\n".encode())
        if self._importing is not None:
            began, count = self._importing
            if now - began > _WORTH:
                self._write(f"{_MODULES} {' '.join(imported(len(sys.modules) - count, self._folders))}\n".encode())
        self._importing = (now, len(sys.modules)) if step == IMPORT else None

    def _write(self, line: bytes) -> None:
        if os.getpid() == self._owner and self._at + len(line) < self._end:  # not what the process forked itself
            ctypes.memmove(self._at, line, len(line))
            self._at += len(line)

    def listen(self, stopwatch: Any) -> None:
        """Hear the SDK's stopwatches start and stop. They call, and return: no traceback shows it."""
        start, stop = stopwatch.start, stopwatch.stop

        def started(watch: Any) -> None:
            if (steps := _WATCHES.get(watch.metric_name)) is not None:
                self.note(steps[0])
            start(watch)

        def stopped(watch: Any) -> None:
            stop(watch)
            if (steps := _WATCHES.get(watch.metric_name)) is not None:
                self.note(steps[1])

        stopwatch.start, stopwatch.stop = started, stopped


def imported(count: int, folders: tuple[str, ...]) -> list[str]:
    """Of the modules that were imported last, in their order, those from folders that its parent has, too.

    The others are not looked at: to touch their names would copy the memory that they are in.
    """
    last = list(islice(reversed(sys.modules.items()), max(0, count)))
    return [name for name, module in reversed(last) if (getattr(module, "__file__", None) or "").startswith(folders)]


def create() -> int:
    """Memory for one process; returns a descriptor."""
    descriptor = os.memfd_create("ledger")
    os.ftruncate(descriptor, _SIZE)
    return descriptor


def read(descriptor: int) -> Account:
    """What was written. User code could write there, too: whatever makes no sense is left out."""
    stamps: list[tuple[str, int]] = []
    modules: list[str] = []
    with suppress(OSError):
        for line in os.pread(descriptor, _SIZE, 0).split(b"\0", 1)[0].decode("ascii", "replace").splitlines():
            step, _, rest = line.partition(" ")
            if step == _MODULES:
                modules += [name for name in rest.split() if _MODULE.fullmatch(name)]
            elif step in STEPS and rest.isdecimal():
                stamps.append((step, int(rest)))
    return Account(stamps, modules[:_MOST_MODULES])


def split(asked: int, begun: int, stamps: Sequence[tuple[str, int]], ended: int) -> dict[str, int]:
    """The nanoseconds of each step: from when the attempt was asked for, over when its process was told what to do,
    to when it was gone. Together they are the whole time.
    """
    spent: dict[str, int] = {}
    step, at = QUEUE, asked
    for following, when in (*((BOOT, begun) if stamps else (PROCESS, begun),), *stamps, ("", ended)):
        when = max(at, min(when, ended))
        spent[step] = spent.get(step, 0) + when - at
        step, at = following, when
    return spent
