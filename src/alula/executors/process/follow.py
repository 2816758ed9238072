"""Reading attempts' logs, also while they grow."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from alula.core.launch import LogLine, Originator
from alula.executors.process import loglines
from alula.executors.process.segments import Segments, touch

_READ = 1 << 18


class Removed(Exception):
    """The log is here no more, though there was more to read; the archive may have it."""


class LogFile:
    """A log's lines, read on from where the last read ended: in segment ``number``, at ``position``.

    ``ended`` is set by who reads on elsewhere, and knows that there is no more.
    """

    def __init__(self, segments: Segments, name: str) -> None:
        self._segments, self._name = segments, name
        self.number = self.position = 0
        self.ended = False

    def read(self) -> list[LogLine]:
        """The next lines; none at the end of the log, or if it is not there (yet).

        Raises:
            Removed: it was there.
        """
        while True:
            followed = self._segments.find(self._name, self.number + 1) is not None  # and then this one is complete
            block = self._block()
            if block or not followed:
                return lines(block)
            self.number, self.position = self.number + 1, 0

    def _block(self) -> bytes:
        while (path := self._segments.find(self._name, self.number)) is not None:
            try:
                with path.open("rb") as file:
                    file.seek(self.position)
                    block = file.read(_READ)
            except FileNotFoundError:  # it was archived, or removed, between the two
                continue
            if not self.position:
                touch(path)
            block = block[: block.rfind(b"\n") + 1]
            self.position += len(block)
            return block
        if self.number or self.position:
            raise Removed
        return b""


def lines(block: bytes) -> list[LogLine]:
    """Whole lines as they are on disk, decoded."""
    return list(_lines(block))


def _lines(block: bytes) -> Iterator[LogLine]:
    last_ns, at = -1, datetime.fromtimestamp(0, UTC)
    for entry in loglines.decode(block):
        if entry.at_ns != last_ns:
            last_ns, at = entry.at_ns, datetime.fromtimestamp(entry.at_ns / 1_000_000_000, UTC)
        originator = Originator.SYSTEM if entry.stream == loglines.SYSTEM else Originator.USER
        yield LogLine(at, entry.content.decode("utf-8", "replace"), originator)


async def read(file: LogFile) -> AsyncIterator[list[LogLine]]:
    """All there is now."""
    while found := await asyncio.to_thread(file.read):
        yield found


class Growth:
    """Who waits for which log to grow."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = {}

    def names(self) -> list[str]:
        """The logs that are watched."""
        return list(self._waiting)

    def grew(self, name: str) -> None:
        for event in self._waiting.get(name, ()):
            event.set()

    @contextmanager
    def watch(self, name: str, tell: Callable[[str, bool], None]) -> Iterator[asyncio.Event]:
        """An event that is set when the log grows; ``tell(name, on)`` is called for the first and the last watcher."""
        event = asyncio.Event()
        events = self._waiting.setdefault(name, set())
        events.add(event)
        if len(events) == 1:
            tell(name, True)
        try:
            yield event
        finally:
            events.discard(event)
            if not events:
                self._waiting.pop(name, None)
                tell(name, False)


async def follow(file: LogFile, grown: asyncio.Event, over: asyncio.Event) -> AsyncIterator[list[LogLine]]:
    """The log until its attempt is over; whoever sets ``over`` sets ``grown``, too."""
    while True:
        last = over.is_set()
        grown.clear()
        if found := await asyncio.to_thread(file.read):
            yield found
        elif last:
            return
        else:
            await grown.wait()
