"""Takes the values of secrets out of a stream of bytes, however it is cut into reads. Standard library only."""

import re
from bisect import bisect_right
from collections.abc import Iterable

SHOWN = b"***"

_LEAST = 6  # bytes: what is shorter is found everywhere, and worth little
_MOST = 1024  # bytes of a pattern; a longer line is several of them
_UNDECIDED = -1
_NOTHING = re.compile(rb"(?!)")


class Redactor:
    """Replaces every line, of at least six characters, of every secret.

    What it gives out is the same for every cut of the stream. It holds back no more than what a secret may begin with.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        self._patterns = _patterns(secrets)
        self._sorted = sorted(self._patterns)
        self._lengths = sorted({len(pattern) for pattern in self._patterns}, reverse=True)
        heads = {pattern[:_LEAST] for pattern in self._patterns}
        self._heads = re.compile(_any_of(sorted(heads)), re.DOTALL) if heads else _NOTHING
        self._beginnings = {head[:length] for head in heads for length in range(1, _LEAST)}
        self._held = b""

    def __repr__(self) -> str:
        return "Redactor(...)"

    def feed(self, data: bytes) -> bytes:
        """What can be said of the stream so far."""
        return self._pass(self._held + data, ended=False)

    def end(self) -> bytes:
        """The rest: the stream is over, or what comes next is not its continuation."""
        return self._pass(self._held, ended=True)

    def _pass(self, text: bytes, *, ended: bool) -> bytes:
        said: list[bytes] = []
        at = search = 0
        self._held = b""
        while (head := self._heads.search(text, search)) is not None:
            length = self._length(text, head.start(), ended=ended)
            if length == _UNDECIDED:
                self._held = text[head.start() :]
                break
            search = head.start() + (length or 1)
            if length:
                said += (text[at : head.start()], SHOWN)
                at = search
        end = len(text) - len(self._held)
        if not self._held and not ended:
            end = self._tail(text, max(at, len(text) - _LEAST + 1))
            self._held = text[end:]
        return b"".join((*said, text[at:end]))

    def _length(self, text: bytes, start: int, *, ended: bool) -> int:
        """Of the longest pattern at this place; 0: there is none."""
        rest = text[start : start + _MOST]
        if not ended and len(rest) < _MOST:
            above = bisect_right(self._sorted, rest)
            if above < len(self._sorted) and self._sorted[above].startswith(rest):
                return _UNDECIDED
        fitting = (length for length in self._lengths if length <= len(rest))
        return next((length for length in fitting if rest[:length] in self._patterns), 0)

    def _tail(self, text: bytes, start: int) -> int:
        """Where the text ends with what may be the beginning of a pattern."""
        places = (place for place in range(start, len(text)) if text[place:] in self._beginnings)
        return next(places, len(text))


def _patterns(secrets: Iterable[str]) -> set[bytes]:
    lines = {line.strip().encode("utf-8", "surrogateescape") for secret in secrets for line in secret.splitlines()}
    return {piece for line in lines if len(line) >= _LEAST for piece in _pieces(line)}


def _pieces(line: bytes) -> list[bytes]:
    count = -(-len(line) // _MOST)
    size = -(-len(line) // count)
    return [line[at : at + size] for at in range(0, len(line), size)]


def _any_of(words: list[bytes]) -> bytes:
    """An expression for any of these sorted words of one length, in which each byte is looked at once."""
    firsts = sorted({word[:1] for word in words})
    if len(words) == 1:
        return re.escape(words[0])
    branches = (re.escape(first) + _any_of([w[1:] for w in words if w[:1] == first]) for first in firsts)
    return b"(?:" + b"|".join(branches) + b")"
