"""The log on disk, in the text form of the Container Runtime Interface: ``<RFC 3339 time> <stream> <F|P> <content>``.

`stdout` carries stdout and stderr, in the order they were written (one pipe); `system` is what alula says. `P` marks a
part: the line goes on, or ends without a newline.
"""

import time
from collections.abc import Iterator
from typing import NamedTuple

PIECE = 32 * 1024  # bytes of one line that are held in memory; a longer line becomes parts

STDOUT, SYSTEM = b"stdout", b"system"


class Entry(NamedTuple):
    """One line of the file; ``content`` ends in a newline unless it is a part."""

    at_ns: int
    stream: bytes
    content: bytes


def stamp(at_ns: int) -> bytes:
    """RFC 3339 in UTC with nine digits of a second."""
    seconds, rest = divmod(at_ns, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode() + b".%09dZ" % rest


def whole(at_ns: int, stream: bytes, lines: bytes) -> bytes:
    """Encode lines that all end in a newline."""
    prefix = stamp(at_ns) + b" " + stream + b" F "
    return prefix + lines[:-1].replace(b"\n", b"\n" + prefix) + b"\n"


def part(at_ns: int, stream: bytes, content: bytes) -> bytes:
    """Encode a piece of a line."""
    return stamp(at_ns) + b" " + stream + b" P " + content + b"\n"


def character_end(text: bytes, end: int) -> int:
    """The last place up to ``end`` where ``text`` can be cut without cutting a UTF-8 character."""
    for back in range(min(4, end)):
        if text[end - back] & 0xC0 != 0x80:
            return end - back
    return end  # not UTF-8


def decode(block: bytes) -> Iterator[Entry]:
    """Read whole lines back. A line that is not in this form (a torn write) is skipped."""
    second, second_ns = b"", 0
    for line in block.split(b"\n"):
        fields = line.split(b" ", 3)
        if len(fields) != 4 or len(fields[0]) != 30:
            continue
        at, stream, tag, content = fields
        if at[:19] != second:
            try:
                second, second_ns = at[:19], _epoch(at[:19]) * 1_000_000_000
            except ValueError:
                continue
        yield Entry(second_ns + int(at[20:29]), stream, content if tag == b"P" else content + b"\n")


def _epoch(second: bytes) -> int:
    import calendar

    return calendar.timegm(time.strptime(second.decode(), "%Y-%m-%dT%H:%M:%S"))
