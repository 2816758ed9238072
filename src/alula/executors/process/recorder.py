"""The recorder: a program with one thread that writes the attempts' logs and their ends, so that nobody else waits for
the disk.

It gets the read end of each attempt's output from the launcher, and the connection to each server. It tells the server
when a followed log has grown, and when an attempt's end is safely on disk. It lives until the launcher is gone and
every output has ended.
"""

import json
import os
import selectors
import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alula.executors.process import loglines, records, usage
from alula.executors.process.channel import Channel, Message
from alula.executors.process.meter import Meter
from alula.executors.process.redaction import Redactor
from alula.executors.process.writer import Writer

_HOLD = 0.05  # seconds an unfinished line waits for its end
_READ = 1 << 16
_LAST_READS = 32  # of _READ bytes, after the attempt has ended: more than a pipe holds
_ORPHANED = 10.0  # seconds the outputs of a dead launcher's attempts may stay open
_TAIL_LINES, _TAIL_BYTES = 80, 2048


@dataclass(slots=True)
class Log:
    """One attempt's log while it is written."""

    name: str
    directory: Path
    file: Writer | None  # none: it could not be opened
    source: int  # -1: no output (any more)
    cap: int  # bytes of output that may be written
    redactor: Redactor | None = None  # of an attempt that has secrets
    spent: int = 0
    held: bytes = b""  # the beginning of a line
    held_until: float = 0.0
    dropped: str = ""  # why output is dropped from now on
    told: bool = False  # the log says so
    tail: bytearray = field(default_factory=bytearray)

    def write(self, data: bytes) -> bool:
        """Append, or drop: what the disk does not take must not stop the attempt."""
        if self.file is None:
            return False
        try:
            self.file.write(data)
        except OSError as error:
            self.dropped = self.dropped or f"log incomplete: {error.strerror}; what follows is dropped"
            return False
        return True

    def say(self, text: str) -> None:
        """Write a line of ours, after whatever was held."""
        self.release_held()
        if self.dropped and not self.told:  # the new line ends what a full disk may have cut
            self.told = self.write(b"\n" + self._system(self.dropped))
        self.write(self._system(text))

    def _system(self, text: str) -> bytes:
        return loglines.whole(time.time_ns(), loglines.SYSTEM, text.encode() + b"\n")

    def add(self, data: bytes) -> None:
        """Take output as it came from the pipe."""
        self._take(data if self.redactor is None else self.redactor.feed(data))

    def finish(self) -> None:
        """There is no more output."""
        if self.redactor is not None:
            self._take(self.redactor.end())
        self.release_held()

    def _take(self, data: bytes) -> None:
        self.tail += data
        if len(self.tail) > 4 * _TAIL_BYTES:
            del self.tail[:-_TAIL_BYTES]
        if self.dropped:
            return
        now = time.time_ns()
        lines, newline, rest = (self.held + data).rpartition(b"\n")
        encoded = b""
        if newline:
            encoded, self.held_until = loglines.whole(now, loglines.STDOUT, lines + newline), 0.0
        while len(rest) > loglines.PIECE:
            end = loglines.character_end(rest, loglines.PIECE)
            encoded += loglines.part(now, loglines.STDOUT, rest[:end])
            rest = rest[end:]
        self.held = rest
        if rest and not self.held_until:
            self.held_until = time.monotonic() + _HOLD
        self._spend(encoded)

    def release_held(self) -> None:
        if self.held and not self.dropped:
            self._spend(loglines.part(time.time_ns(), loglines.STDOUT, self.held))
        self.held, self.held_until = b"", 0.0

    def _spend(self, encoded: bytes) -> None:
        if self.spent + len(encoded) > self.cap:
            encoded = encoded[: encoded.rfind(b"\n", 0, self.cap - self.spent) + 1]
            self.dropped = f"log cut: it reached its size limit of {self.cap} bytes; what follows is dropped"
            self.held = b""
        self.spent += len(encoded)
        self.write(encoded)
        if self.dropped:
            self.told = self.write(self._system(self.dropped))


def tail_text(tail: bytes) -> str:
    """The last lines of what was printed: at most 80 lines and 2048 bytes."""
    lines = tail[-_TAIL_BYTES:].split(b"\n")
    kept = lines[-_TAIL_LINES - (not lines[-1]) :]
    return b"\n".join(kept).decode("utf-8", "replace")


class Recorder:
    """The program's state and its loop."""

    def __init__(self, home: records.Home, launcher: Channel, cap: int) -> None:
        self._home, self._cap = home, cap
        self._launcher = launcher
        self._server: Channel | None = None
        self._logs: dict[str, Log] = {}
        self._followed: set[str] = set()
        self._meter = Meter(home.path / usage.FOLDER)
        self._late: set[str] = set()  # followed logs whose growth the server was not told yet
        self._selector = selectors.DefaultSelector()
        self._orphaned_at: float | None = None
        self._selector.register(launcher.socket, selectors.EVENT_READ, self._hear_launcher)

    def run(self) -> None:
        self._meter.start()
        while self._orphaned_at is None or self._logs:
            if self._orphaned_at is not None and time.monotonic() > self._orphaned_at + _ORPHANED:
                break
            for key, _ in self._selector.select(self._patience()):
                key.data() if not isinstance(key.data, Log) else self._copy(key.data)
            now = time.monotonic()
            for log in self._logs.values():
                if log.held_until and log.held_until <= now:
                    log.release_held()
                    self._grew(log.name)
            self._flush()
        for log in list(self._logs.values()):
            self._close(log)

    def _patience(self) -> float | None:
        deadlines = [log.held_until for log in self._logs.values() if log.held_until]
        if self._orphaned_at is not None:
            deadlines.append(self._orphaned_at + _ORPHANED)
        if self._server is not None and self._server.pending:
            deadlines.append(time.monotonic() + 0.01)
        return max(0.0, min(deadlines) - time.monotonic()) if deadlines else None

    def _hear_launcher(self) -> None:
        for message in self._launcher.receive():
            if "open" in message:
                self._open(message)
            elif "server" in message:
                self._welcome(message["server"])
            else:
                self._end(message)
        if self._launcher.gone:
            self._selector.unregister(self._launcher.socket)
            self._orphaned_at = time.monotonic()
            for log in list(self._logs.values()):
                log.say("lost: the launcher ended before it saw how this attempt ended")
                if log.source < 0:
                    self._close(log)

    def _welcome(self, told: Message) -> None:
        """A new server in place of the old one. What it hears first is what the launcher holds."""
        self._leave()
        self._server = Channel(socket.socket(fileno=self._launcher.take_descriptor()))
        self._selector.register(self._server.socket, selectors.EVENT_READ, self._hear_server)
        for name in told["held"]:
            if name in self._logs:
                self._logs[name].say("adopted by a new server")
        self._server.send(told)

    def _leave(self) -> None:
        if self._server is not None:
            self._selector.unregister(self._server.socket)
            self._server.socket.close()
            self._server = None
        self._followed.clear()
        self._late.clear()

    def _hear_server(self) -> None:
        if self._server is None:  # it has left in this very round
            return
        for message in self._server.receive():
            name = message["follow"]
            (self._followed.add if message["on"] else self._followed.discard)(name)
            self._grew(name)
        if self._server.gone:
            self._leave()

    def _tell(self, message: Message) -> None:
        """Without a server it is on disk for the next one."""
        if self._server is not None:
            self._server.send(message)

    def _open(self, message: Message) -> None:
        name, directory = message["open"], Path(message["directory"])
        source = self._launcher.take_descriptor() if message["output"] else -1
        secrets = message.get("secrets")
        log = Log(name, directory, None, source, self._cap, Redactor(secrets) if secrets else None)
        try:
            log.file = Writer(self._home.logs, name)
            (directory / records.PROCESS).write_text(json.dumps(message["process"]))
        except OSError as error:
            log.dropped = f"log incomplete: {error.strerror}"
        self._logs[name] = log
        if message.get("meter"):
            self._meter.open(name, message["process"], directory, message["meter"])
        if message["say"]:
            log.say(message["say"])
        if source >= 0:
            os.set_blocking(source, False)
            self._selector.register(source, selectors.EVENT_READ, log)

    def _copy(self, log: Log) -> bool:
        """Move one read's worth of output to the log; whether there may be more."""
        if log.source < 0:  # closed by an earlier event of the same round
            return False
        try:
            data = os.read(log.source, _READ)
        except BlockingIOError:
            return False
        if not data:
            self._stop_reading(log)
            if self._orphaned_at is not None:
                self._close(log)
            return False
        log.add(data)
        self._grew(log.name)
        return True

    def _stop_reading(self, log: Log) -> None:
        if log.source >= 0:
            self._selector.unregister(log.source)
            os.close(log.source)
            log.source = -1

    def _end(self, message: Message) -> None:
        """Every process of the attempt is gone: what it wrote is in the pipe already."""
        log = self._logs[message["end"]]
        for _ in range(_LAST_READS):
            if log.source < 0 or not self._copy(log):
                break
        log.finish()
        record: dict[str, Any] = message["record"]
        say = self._meter.end(log.name, record, message["say"])
        log.say(say)
        record["tail"] = tail_text(bytes(log.tail)) or say
        with suppress(OSError):  # a full disk: the server still hears it, and a restart says LOST
            records.replace(log.directory / records.END, record)
        self._close(log)
        self._tell({"ended": log.name, "record": record})

    def _close(self, log: Log) -> None:
        log.finish()
        self._stop_reading(log)
        if log.file is not None:
            log.file.close()
        del self._logs[log.name]
        self._grew(log.name)

    def _grew(self, name: str) -> None:
        if name in self._followed and self._server is not None:
            if self._server.pending:  # it is slow to listen: once is enough
                self._late.add(name)
            else:
                self._server.send({"grew": name})

    def _flush(self) -> None:
        if self._server is None:
            return
        self._server.flush()
        if self._late and not self._server.pending:
            late, self._late = self._late, set()
            for name in late:
                self._grew(name)


def main() -> None:
    """``recorder <home> <launcher socket> <log cap>``; the socket is an inherited descriptor."""
    home, launcher, cap = sys.argv[1:]
    Recorder(records.Home(Path(home)), Channel(socket.socket(fileno=int(launcher))), int(cap)).run()


if __name__ == "__main__":
    main()
