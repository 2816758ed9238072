"""What the pods of an attempt say, without the values of its secrets: as the executor of processes keeps its logs."""

import re
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from typing import Self

from alula.core.launch import LogLine, Observation

SHOWN = "***"
_LEAST = 6  # bytes: what is shorter is found everywhere, and worth little


class Hiding:
    """Takes every line, of at least six bytes, of every secret out of texts."""

    def __init__(self, secrets: Iterable[str]) -> None:
        lines = {line.strip() for secret in secrets for line in secret.splitlines()}
        words = sorted((line for line in lines if len(line.encode()) >= _LEAST), key=len, reverse=True)
        self._words = re.compile("|".join(map(re.escape, words))) if words else None

    @classmethod
    def everything(cls) -> Self:
        """Shows nothing: what is secret is not known."""
        found = cls(())
        found._words = re.compile(".+")
        return found

    def __repr__(self) -> str:
        return "Hiding(...)"

    def text(self, text: str) -> str:
        """The text without them."""
        return self._words.sub(SHOWN, text) if self._words is not None else text

    async def lines(self, batches: AsyncIterator[list[LogLine]]) -> AsyncIterator[list[LogLine]]:
        """A log without them."""
        async for batch in batches:
            yield [replace(line, text=self.text(line.text)) for line in batch] if self._words is not None else batch

    def seen(self, found: Observation) -> Observation:
        """What is seen of an attempt, without them."""
        if self._words is None:
            return found
        cause = found.cause and replace(found.cause, message=self.text(found.cause.message))
        return replace(found, cause=cause, notes=tuple(map(self.text, found.notes)))
