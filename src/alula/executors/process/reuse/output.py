"""The logs of attempts that share a process, written by that process itself. Standard library only.

One attempt at a time: whatever the process prints, be it Python, C or a program it started, goes through a named pipe
and belongs to the attempt of that moment. Several at once: what Python's `sys.stdout` and `sys.stderr` are given
belongs to the attempt whose code printed it; the rest is the worker's own.
"""

import contextlib
import contextvars
import ctypes
import io
import os
import struct
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from alula.executors.process import loglines
from alula.executors.process.redaction import Redactor

_TAIL = 2048  # bytes
_READ = 1 << 16
_LAST_READS = 32  # more than a pipe holds
_SIZE = struct.Struct("q")
current: "contextvars.ContextVar[Log | None]" = contextvars.ContextVar("alula_log", default=None)


class Log:
    """One attempt's log: no more than ``cap`` bytes, without secrets. ``grew`` is called after each write."""

    def __init__(self, path: str, cap: int, secrets: Sequence[str], grew: Callable[[], None]) -> None:
        self._cap, self._grew = cap, grew
        self._redactor = Redactor(secrets) if secrets else None
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError:  # a full disk stops no attempt
            self._file = -1
        self._lock = threading.Lock()
        self._held = b""  # the beginning of a line
        self._spent = 0
        self._tail = bytearray()

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return os.fstat(self._file).st_size if self._file >= 0 else 0

    @property
    def tail(self) -> str:
        """The last lines of what was printed."""
        return self._tail[-_TAIL:].decode("utf-8", "replace")

    def write(self, data: bytes) -> None:
        """Take output, whole lines or parts of them. What the disk does not take is lost, and stops nobody."""
        with self._lock:
            if self._file < 0:
                return
            if self._redactor is not None:
                data = self._redactor.feed(data)
            self._take(data)

    def release(self) -> None:
        """Write the beginning of a line that has no end yet."""
        with self._lock:
            self._release()

    def say(self, text: str) -> None:
        """Write a line of ours."""
        with self._lock:
            self._release()
            self._put(loglines.whole(time.time_ns(), loglines.SYSTEM, text.encode() + b"\n"), ours=True)

    def close(self) -> None:
        with self._lock:
            if self._redactor is not None:
                self._take(self._redactor.end())
            self._release()
            if self._file >= 0:
                os.close(self._file)
            self._file = -1

    def _take(self, data: bytes) -> None:
        self._tail += data
        if len(self._tail) > 4 * _TAIL:
            del self._tail[:-_TAIL]
        lines, newline, self._held = (self._held + data).rpartition(b"\n")
        encoded = loglines.whole(time.time_ns(), loglines.STDOUT, lines + newline) if newline else b""
        while len(self._held) > loglines.PIECE:
            end = loglines.character_end(self._held, loglines.PIECE)
            encoded += loglines.part(time.time_ns(), loglines.STDOUT, self._held[:end])
            self._held = self._held[end:]
        self._put(encoded)

    def _release(self) -> None:
        if self._held:
            self._put(loglines.part(time.time_ns(), loglines.STDOUT, self._held))
            self._held = b""

    def _put(self, encoded: bytes, *, ours: bool = False) -> None:
        if not encoded or self._file < 0 or (self._spent > self._cap and not ours):
            return
        self._spent += len(encoded)
        if self._spent > self._cap and not ours:
            text = f"log cut: it reached its size limit of {self._cap} bytes; what follows is dropped\n"
            encoded = loglines.whole(time.time_ns(), loglines.SYSTEM, text.encode())
        try:
            os.write(self._file, encoded)
        except OSError:
            return
        self._grew()


class Pipe:
    """What a process prints, wherever in it, for the one attempt it runs. ``own``: where it belongs between two.

    The process may die at any moment. So what is taken from the pipe is moved, by the kernel, to a file (``taken``),
    after the size that the log has then: if the log has grown since, it has it; if not, see `rest`.
    """

    def __init__(self, path: str, taken: str) -> None:
        os.mkfifo(path, 0o600)
        self.source = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._taken = os.open(taken, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        output = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        self._own = os.dup(1)
        for number in (1, 2):
            os.dup2(output, number)
        os.close(output)
        sys.stdout.reconfigure(line_buffering=True, write_through=False)  # type: ignore[union-attr]  # lines, not words
        self._log: Log | None = None
        self._lock = threading.Lock()
        self._flush = ctypes.CDLL(None).fflush

    def turn(self, log: Log | None) -> None:
        """From now on what is printed belongs to ``log``; what was printed before does not."""
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError, AttributeError):  # user code closed or replaced it
                continue
        self._flush(None)
        with self._lock:
            for _ in range(_LAST_READS):
                if not self._copy():
                    break
            self._log = log

    def ready(self) -> None:
        """There is something to read."""
        with self._lock:
            self._copy()

    def _copy(self) -> bool:
        try:
            if self._log is None:
                os.write(self._own, os.read(self.source, _READ))
                return True
            data = self._take(self._log.size)
        except BlockingIOError:
            return False
        self._log.write(data)
        self._log.release()  # what is held would be lost with the process
        with contextlib.suppress(OSError):
            os.ftruncate(self._taken, 0)
        return True

    def _take(self, size: int) -> bytes:
        try:
            os.pwrite(self._taken, _SIZE.pack(size), 0)
            count = os.splice(self.source, self._taken, _READ, offset_dst=_SIZE.size, flags=os.SPLICE_F_NONBLOCK)
            return os.pread(self._taken, count, _SIZE.size)
        except BlockingIOError:
            raise
        except (AttributeError, OSError):  # not Linux, or a file system that cannot, or is full
            return os.read(self.source, _READ)


def rest(taken: int, pipe: int, size: int) -> bytes:
    """What a dead process printed and did not live to write to its attempt's log, which has ``size`` bytes."""
    found = os.pread(taken, _SIZE.size + _READ, 0)
    if len(found) > _SIZE.size and _SIZE.unpack_from(found)[0] < size:
        found = b""
    found = found[_SIZE.size :]
    with contextlib.suppress(OSError):  # BlockingIOError: something of it still lives
        while data := os.read(pipe, _READ):
            found += data
    return found


class Routed(io.RawIOBase):
    """A standard stream of a process with several attempts: each finds its own log behind it."""

    def __init__(self, number: int) -> None:
        self._number = number

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._number

    def write(self, data: Any) -> int:
        log, content = current.get(), bytes(data)
        if log is None:
            os.write(self._number, content)
        else:
            log.write(content)
        return len(content)


def route() -> None:
    """Let `sys.stdout` and `sys.stderr` tell attempts apart, by the context of the code that prints."""
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = io.TextIOWrapper(
            Routed(number),  # type: ignore[type-var]
            encoding="utf-8",
            errors="backslashreplace",
            line_buffering=False,
            write_through=True,
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
