"""One SQLite file, one writer, and readers that never wait for it.

Over SQLite no await in an operation ever suspends, so each is driven to its end in one go (`_drive`). Each operation of
a group has a savepoint of its own. The statements run on the event loop's thread, where each takes microseconds; only
the commit, which waits for the disk, runs beside it. (In a thread of their own every statement would have to win the
interpreter back from a busy loop: measured, 1.4 times the latency under load.)
"""

import asyncio
import sqlite3
import threading
from collections.abc import Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self, TypeVar

from alula.core.errors import Conflict, DomainError, Invalid, Unavailable
from alula.storage.changes import Change, Changes
from alula.storage.database import NONE, Operation, Row, Values, Violated
from alula.storage.writes import Write, Writes

T = TypeVar("T")

_GROUP = 64  # operations in one transaction at most: bounds how long the loop and the first of a burst wait
_READERS = 2


class SqliteTx:
    """A transaction of SQLite."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.changed: list[Change] = []

    async def execute(self, sql: str, values: Values = NONE, /) -> int:
        return self._connection.execute(sql, values).rowcount

    async def many(self, sql: str, values: Sequence[Values], /) -> None:
        self._connection.executemany(sql, values)

    async def one(self, sql: str, values: Values = NONE, /) -> Row | None:
        row: Row | None = self._connection.execute(sql, values).fetchone()
        return row

    async def all(self, sql: str, values: Values = NONE, /) -> list[Row]:
        return self._connection.execute(sql, values).fetchall()

    def touch(self, changes: Iterable[Change], /) -> None:
        self.changed.extend(changes)


class Sqlite:
    """The file and its writer: a `Database`."""

    def __init__(self, path: Path, changes: Changes) -> None:
        self._path = path
        self._writes = Writes(self._commit, changes, _GROUP)
        self._local = threading.local()

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._reader = connect(self._path, read_only=True)
        self._connection = connect(self._path)
        self._scanners = ThreadPoolExecutor(_READERS, thread_name_prefix="alula-scan")
        self._committer = ThreadPoolExecutor(1, thread_name_prefix="alula-commit")
        self._writes.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._writes.close()
        self._scanners.shutdown()
        self._committer.shutdown()
        self._connection.close()
        self._reader.close()

    async def write(self, operation: Operation[T], /) -> T:
        return await self._writes.put(operation)

    async def read(self, operation: Operation[T], /) -> T:
        """Here and now: it costs less than waking a thread (docs/performance.md)."""
        return _read(self._reader, operation)

    async def scan(self, operation: Operation[T], /) -> T:
        """Beside the event loop."""
        return await self._loop.run_in_executor(self._scanners, self._scan, operation)

    def _scan(self, operation: Operation[T]) -> T:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = connect(self._path, read_only=True)
        return _read(connection, operation)

    async def _commit(self, group: list[Write]) -> None:
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            for write in group:
                _apply(connection, write)
            await self._loop.run_in_executor(self._committer, connection.execute, "COMMIT")
        except sqlite3.Error as error:  # the disk, not an operation: nothing of the group was done
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            for write in group:
                write.error = _unwritten(error)


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """Open the file the one way this project does. FULL: what was answered survives a power cut (group commit pays)."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
    connection.row_factory = sqlite3.Row
    try:
        connection.execute("PRAGMA synchronous = FULL")
    except sqlite3.DatabaseError as error:
        connection.close()
        if error.sqlite_errorcode != sqlite3.SQLITE_NOTADB:
            raise
        raise Conflict("the database file is not one of alula's: name another with --home") from None
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA busy_timeout = 10000")
    if read_only:
        connection.execute("PRAGMA query_only = ON")
    return connection


def _apply(connection: sqlite3.Connection, write: Write) -> None:
    tx = SqliteTx(connection)
    connection.execute("SAVEPOINT one")
    try:
        write.result = _drive(write.operation(tx))
        write.changed = tx.changed
    except sqlite3.OperationalError:
        raise
    except Exception as error:
        write.error = _translated(error)
        connection.execute("ROLLBACK TO one")
    connection.execute("RELEASE one")


def _translated(error: Exception) -> Exception:
    if isinstance(error, sqlite3.IntegrityError):
        return Violated(str(error))
    if isinstance(error, UnicodeEncodeError | OverflowError):
        return Invalid(f"a value cannot be stored: {error}")
    return error


def _unwritten(error: sqlite3.Error) -> DomainError:
    return Unavailable(f"the database could not be written ({error}); nothing was done. Is the disk full?")


def _read(connection: sqlite3.Connection, operation: Operation[T]) -> T:
    connection.execute("BEGIN")
    try:
        return _drive(operation(SqliteTx(connection)))
    except (UnicodeEncodeError, OverflowError) as error:
        raise _translated(error) from None
    finally:
        connection.execute("COMMIT")


def _drive(coroutine: Coroutine[Any, Any, T]) -> T:
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    coroutine.close()
    raise RuntimeError("an operation waited for something that is not its transaction")
