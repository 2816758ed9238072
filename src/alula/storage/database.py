"""The promise that SQLite and PostgreSQL keep, and all that the modules of the nouns know of either.

Operations are coroutines over a `Tx`; the same ones run over both. An operation given to `write` runs as if it were
alone, and may be run again from its start when another server got in between: it has no effect outside of its ``tx``.
"""

from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, Self, TypeVar

from alula.storage.changes import Change

T = TypeVar("T")
Values = Mapping[str, Any]
NONE: Values = {}


class Row(Protocol):
    """A row: its columns by name, or by position."""

    def __getitem__(self, key: str | int | slice, /) -> Any: ...
    def __iter__(self) -> Iterator[Any]: ...
    def __len__(self) -> int: ...
    def keys(self) -> Iterable[str]: ...


class Tx(Protocol):
    """One transaction, as an operation sees it. Statements name their parameters ``:name`` (docs/howto/sql.md)."""

    async def execute(self, sql: str, values: Values = NONE, /) -> int:
        """Run a statement; the number of rows it changed."""

    async def many(self, sql: str, values: Sequence[Values], /) -> None:
        """Run a statement once with each of the values, in one go."""

    async def one(self, sql: str, values: Values = NONE, /) -> Row | None:
        """The first row, if there is one."""

    async def all(self, sql: str, values: Values = NONE, /) -> list[Row]:
        """Every row."""

    def touch(self, changes: Iterable[Change], /) -> None:
        """Tell watchers, once this is committed."""


Operation = Callable[[Tx], Coroutine[Any, Any, T]]


class Database(Protocol):
    """A database that is open. Use it as an async context manager, in one event loop."""

    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *_: object) -> None: ...

    async def write(self, operation: Operation[T], /) -> T:
        """Run an operation in a transaction. It is on disk when this returns; on an error it has left no trace.

        Once handed over it is carried out, even if the caller is cancelled meanwhile.

        Raises:
            Invalid: a value can not be stored: text that is not Unicode, an integer beyond 64 bits.
            Violated: a constraint of the schema refuses it.
            Unavailable: the database cannot be written or is being closed. The message says whether nothing was
                done, or whether that is not known.
        """

    async def read(self, operation: Operation[T], /) -> T:
        """Run a few indexed reads on one snapshot.

        Raises:
            Unavailable: the database cannot be reached.
        """

    async def scan(self, operation: Operation[T], /) -> T:
        """Run reads that may take a while (lists, counts) on one snapshot.

        Raises:
            Unavailable: the database cannot be reached.
            Exhausted: it took too long.
        """


class Violated(Exception):
    """A constraint of the schema refused a row: a mistake of this program, where it does not expect it."""
