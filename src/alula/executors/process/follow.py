"""Reading attempts' logs, also while they grow."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from alula.core.launch import LogLine, Originator
from alula.executors.process import loglines

_READ = 1 << 18


class LogFile:
    """A log's lines, read on from where the last read ended."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0

    def read(self) -> list[LogLine]:
        """The next lines; none at the end of the file, or if it is not there (yet)."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._position)
                block = file.read(_READ)
        except FileNotFoundError:
            return []
        block = block[: block.rfind(b"\n") + 1]
        self._position += len(block)
        return list(_lines(block))


def _lines(block: bytes) -> Iterator[LogLine]:
    last_ns, at = -1, datetime.fromtimestamp(0, UTC)
    for entry in loglines.decode(block):
        if entry.at_ns != last_ns:
            last_ns, at = entry.at_ns, datetime.fromtimestamp(entry.at_ns / 1_000_000_000, UTC)
        originator = Originator.SYSTEM if entry.stream == loglines.SYSTEM else Originator.USER
        yield LogLine(at, entry.content.decode("utf-8", "replace"), originator)


async def read(path: Path) -> AsyncIterator[list[LogLine]]:
    """All there is now."""
    file = LogFile(path)
    while lines := await asyncio.to_thread(file.read):
        yield lines


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


async def follow(path: Path, grown: asyncio.Event, over: asyncio.Event) -> AsyncIterator[list[LogLine]]:
    """The log from its beginning until its attempt is over; whoever sets ``over`` sets ``grown``, too."""
    file = LogFile(path)
    while True:
        last = over.is_set()
        grown.clear()
        if lines := await asyncio.to_thread(file.read):
            yield lines
        elif last:
            return
        else:
            await grown.wait()
