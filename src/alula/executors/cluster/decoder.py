"""A container's log as a cluster tells it, ``<time> <text>`` for each line, made into lines.

Each is told once, however often the stream is cut.
"""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime

from alula.core.launch import LogLine, Originator

_LONGEST = 1 << 16  # bytes of a line; a longer one is told in pieces
_ALL = sys.maxsize
_NANO = 1_000_000_000


class Decoder:
    """Of one container. `begin` each stream; ``prefix`` is what its lines begin with.

    A cluster goes on from a second on, and several lines may have been written at the very same time. So it is counted
    how many lines of the last one's time were told, and how much of a line that was cut: those come again.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._last = 0  # nanoseconds: the time of the last line that was told
        self._same = 0  # lines of that time that were told
        self._part = 0  # bytes that were told of the one after those
        self._resuming = False  # what comes was told before
        self._again = 0  # lines of the last time that still come again
        self._skipped = 0  # bytes of the next one that do
        self._rest = b""
        self._open: int | None = None  # the time of a line that has begun
        self._drop = 0  # bytes of it that were told before

    @property
    def since(self) -> str:
        """From when on to ask for the log; "": all of it."""
        return datetime.fromtimestamp(self._last // _NANO, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if self._last else ""

    @property
    def at(self) -> datetime | None:
        """The time of the last line."""
        return _time(self._last) if self._last else None

    def begin(self) -> None:
        """A stream begins, at `since` at the latest."""
        self._rest, self._open, self._drop = b"", None, 0
        self._resuming, self._again, self._skipped = self._last > 0, self._same, self._part

    def feed(self, piece: bytes) -> Iterator[LogLine]:
        """The lines that are complete with this."""
        *whole, self._rest = (self._rest + piece).split(b"\n")
        for line in whole:
            yield from self._piece(line, whole=True)
        while len(self._rest) > _LONGEST:
            cut = _character_end(self._rest, _LONGEST)
            taken, self._rest = self._rest[:cut], self._rest[cut:]
            yield from self._piece(taken, whole=False)

    def end(self) -> Iterator[LogLine]:
        """What is left when a stream has come to its end: a line without one."""
        rest, self._rest = _whole_characters(self._rest), b""
        if rest and (self._open is not None or b" " in rest):  # half of a time is no line
            yield from self._piece(rest, whole=False)

    def _piece(self, data: bytes, *, whole: bool) -> Iterator[LogLine]:
        """A line, or so much of it: its beginning has the time."""
        begins = self._open is None
        if begins:
            stamp, _, data = data.partition(b" ")
            at = _nanoseconds(stamp)
            if at is None:  # the cluster's own words: "rpc error: ..."
                return
            self._open, self._drop = at, self._told_before(at)
            if self._drop < _ALL and at != self._last:
                self._last, self._same, self._part = at, 0, 0
        drop, self._drop = self._drop, self._drop - min(self._drop, len(data)) if self._drop < _ALL else _ALL
        at, self._open = self._open, None if whole else self._open
        assert at is not None, "a line that has begun has a time"
        if drop == _ALL:
            return
        told = data[drop:]
        self._part = 0 if whole else self._part + len(told)
        self._same += whole
        text = (self._prefix if begins and not drop else "") + told.decode(errors="replace") + "\n" * whole
        if text:
            yield LogLine(_time(at), text, Originator.USER)

    def _told_before(self, at: int) -> int:
        """How many bytes of a line were told before."""
        if not self._resuming or at > self._last:
            self._resuming = False
            return 0
        if at < self._last:
            return _ALL
        if self._again:
            self._again -= 1
            return _ALL
        self._resuming = False
        return self._skipped


def _nanoseconds(stamp: bytes) -> int | None:
    """A time (RFC 3339) since 1970; ``None``: it is none."""
    text = stamp.decode(errors="replace")
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    if at.tzinfo is None:
        return None
    fraction = text[20:].rstrip("Z").partition("+")[0].partition("-")[0] if text[19:20] == "." else ""
    return int(at.replace(microsecond=0).timestamp()) * _NANO + int((fraction + "0" * 9)[:9])


def _time(nanoseconds: int) -> datetime:
    seconds, rest = divmod(nanoseconds, _NANO)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1000)


def _whole_characters(data: bytes) -> bytes:
    """The data without the beginning of a character at its end."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return data[: error.start] if error.end == len(data) else data
    return data


def _character_end(data: bytes, at: int) -> int:
    """The last place up to ``at`` where no character is cut."""
    for back in range(4):
        if data[at - back] & 0xC0 != 0x80:
            return at - back
    return at
