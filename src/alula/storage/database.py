"""One SQLite file, one writer, and readers that never wait for it.

Operations are coroutines over a `Tx`, and the same ones will run over PostgreSQL. Over SQLite no await in them ever
suspends, so each is driven to its end in one go (`_drive`).

Writes are grouped: whatever waits when the writer is free shares one transaction and one fsync, each operation in a
savepoint of its own. The statements run on the event loop's thread, where each takes microseconds; only the commit,
which waits for the disk, runs beside it. (In a thread of their own every statement would have to win the interpreter
back from a busy loop: measured, 1.4 times the latency under load.) A write has returned only once it is on disk.
"""

import asyncio
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from alula.core.errors import Conflict, DomainError, Unavailable
from alula.storage.changes import Change, Changes

T = TypeVar("T")
Row = sqlite3.Row
Values = Mapping[str, Any]
_NONE: Values = {}

_GROUP = 64  # operations in one transaction at most: bounds how long the loop and the first of a burst wait
_READERS = 2


class Tx:
    """One transaction, as an operation sees it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.changed: list[Change] = []

    async def execute(self, sql: str, values: Values = _NONE) -> int:
        """Run a statement; the number of rows it changed."""
        return self._connection.execute(sql, values).rowcount

    async def one(self, sql: str, values: Values = _NONE) -> Row | None:
        """The first row, if there is one."""
        row: Row | None = self._connection.execute(sql, values).fetchone()
        return row

    async def all(self, sql: str, values: Values = _NONE) -> list[Row]:
        """Every row."""
        return self._connection.execute(sql, values).fetchall()

    def touch(self, changes: Iterable[Change]) -> None:
        """Tell watchers, once this is committed."""
        self.changed.extend(changes)


Operation = Callable[[Tx], Coroutine[Any, Any, T]]


@dataclass(slots=True)
class _Write:
    operation: Operation[Any]
    done: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None
    changed: list[Change] = field(default_factory=list)


class Database:
    """The file and its writer. Use it as an async context manager, in one event loop."""

    def __init__(self, path: Path, changes: Changes) -> None:
        self._path = path
        self._changes = changes
        self._waiting: deque[_Write] = deque()
        self._some = asyncio.Event()
        self._closing = False
        self._local = threading.local()

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._reader = connect(self._path, read_only=True)
        self._connection = connect(self._path)
        self._scanners = ThreadPoolExecutor(_READERS, thread_name_prefix="alula-scan")
        self._committer = ThreadPoolExecutor(1, thread_name_prefix="alula-commit")
        self._writer = asyncio.create_task(self._write_for_ever(), name="writer")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing = True
        self._some.set()
        await self._writer
        self._scanners.shutdown()
        self._committer.shutdown()
        self._connection.close()
        self._reader.close()

    async def write(self, operation: Operation[T]) -> T:
        """Run an operation in a transaction. It is on disk when this returns; on an error it has left no trace.

        Once handed over it is carried out, even if the caller is cancelled meanwhile.

        Raises:
            Unavailable: the disk is full or broken, or the database is being closed.
        """
        if self._closing:
            raise Unavailable("the server is ending; nothing was done")
        done: asyncio.Future[T] = self._loop.create_future()
        self._waiting.append(_Write(operation, done))
        self._some.set()
        return await asyncio.shield(done)

    async def read(self, operation: Operation[T]) -> T:
        """Run a few indexed reads on one snapshot, here and now: it costs less than waking a thread (stack.md 3.1)."""
        return _read(self._reader, operation)

    async def scan(self, operation: Operation[T]) -> T:
        """Run reads that may take a while (lists, counts) on one snapshot, beside the event loop."""
        return await self._loop.run_in_executor(self._scanners, self._scan, operation)

    def _scan(self, operation: Operation[T]) -> T:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = connect(self._path, read_only=True)
        return _read(connection, operation)

    async def _write_for_ever(self) -> None:
        while self._waiting or not self._closing:
            if not self._waiting:
                self._some.clear()
                await self._some.wait()
                continue
            group = [self._waiting.popleft() for _ in range(min(len(self._waiting), _GROUP))]
            await self._commit(group)
            self._settle(group)

    async def _commit(self, group: list[_Write]) -> None:
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

    def _settle(self, group: list[_Write]) -> None:
        self._changes.publish(change for write in group if write.error is None for change in write.changed)
        for write in group:
            if write.done.cancelled():
                continue
            if write.error is not None:
                write.done.set_exception(write.error)
                write.done.exception()  # whoever asked may be gone: that is no reason to complain
            else:
                write.done.set_result(write.result)


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


def _apply(connection: sqlite3.Connection, write: _Write) -> None:
    tx = Tx(connection)
    connection.execute("SAVEPOINT one")
    try:
        write.result = _drive(write.operation(tx))
        write.changed = tx.changed
    except sqlite3.OperationalError:
        raise
    except Exception as error:
        write.error = error
        connection.execute("ROLLBACK TO one")
    connection.execute("RELEASE one")


def _unwritten(error: sqlite3.Error) -> DomainError:
    return Unavailable(f"the database could not be written ({error}); nothing was done. Is the disk full?")


def _read(connection: sqlite3.Connection, operation: Operation[T]) -> T:
    connection.execute("BEGIN")
    try:
        return _drive(operation(Tx(connection)))
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
