"""One SQLite file, one thread that writes it, and readers that never wait for the writer.

Operations are coroutines over a `Tx`, and the same ones will run over PostgreSQL. Over SQLite no await in them ever
suspends, so a thread drives each to its end in one go (`_drive`).

Writes are grouped: whatever waits when the writer is free shares one transaction and one fsync, each operation in a
savepoint of its own. A write has returned only once it is on disk.
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Coroutine, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from alula.core.errors import DomainError, Unavailable
from alula.storage.changes import Change, Changes

T = TypeVar("T")
Row = sqlite3.Row
Values = Mapping[str, Any]
_NONE: Values = {}

_GROUP = 512  # operations in one transaction at most: bounds how long the first of a burst waits
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
        self._writes: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._local = threading.local()

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._reader = self._connect(read_only=True)
        self._scanners = ThreadPoolExecutor(_READERS, thread_name_prefix="alula-scan")
        self._writer = threading.Thread(target=self._write_for_ever, name="alula-writer")
        self._writer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writes.put(None)
        await asyncio.to_thread(self._writer.join)
        self._scanners.shutdown()
        self._reader.close()

    async def write(self, operation: Operation[T]) -> T:
        """Run an operation in a transaction. It is on disk when this returns; on an error it has left no trace.

        Once handed over it is carried out, even if the caller is cancelled meanwhile.
        """
        done: asyncio.Future[T] = self._loop.create_future()
        self._writes.put(_Write(operation, done))
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
            connection = self._local.connection = self._connect(read_only=True)
        return _read(connection, operation)

    def _connect(self, *, read_only: bool) -> sqlite3.Connection:
        return connect(self._path, read_only=read_only)

    def _write_for_ever(self) -> None:
        connection = self._connect(read_only=False)
        try:
            while (first := self._writes.get()) is not None:
                group = [first]
                stop = False
                while len(group) < _GROUP and not self._writes.empty():
                    following = self._writes.get()
                    if following is None:
                        stop = True
                        break
                    group.append(following)
                _commit(connection, group)
                self._loop.call_soon_threadsafe(self._settle, group)
                if stop:
                    return
        finally:
            connection.close()

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
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA busy_timeout = 10000")
    if read_only:
        connection.execute("PRAGMA query_only = ON")
    return connection


def _commit(connection: sqlite3.Connection, group: list[_Write]) -> None:
    try:
        connection.execute("BEGIN IMMEDIATE")
        for write in group:
            _apply(connection, write)
        connection.execute("COMMIT")
    except sqlite3.Error as error:  # the disk, not an operation: nothing of the group was done
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        for write in group:
            write.error = _unwritten(error)


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
