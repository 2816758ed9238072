"""A PostgreSQL database: a writer, a pool of readers, and the tail of what other servers changed."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from types import CodeType
from typing import Any, Self, TypeVar

import asyncpg

from alula.core.errors import Conflict, Unavailable
from alula.storage.address import PostgresServer
from alula.storage.changes import Changes
from alula.storage.committer import Committer
from alula.storage.database import Operation
from alula.storage.failures import is_gone, translated, unreachable
from alula.storage.migrate import migrate_postgres, pending_postgres
from alula.storage.session import OneSelect, PostgresTx, Several, connect, connections
from alula.storage.tail import Tail
from alula.storage.writes import Writes

T = TypeVar("T")

_GROUP = 32  # operations in one transaction at most: the more, the more often other servers are in the way
_SCANS = 4  # at once: the rest of the pool is for short reads
_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_BEGIN_SCAN = f"{_BEGIN}; SET LOCAL statement_timeout = '30s'"


class _Lost(ConnectionError):
    """The connection was lost during an operation, by its cause."""


class Postgres:
    """A server's database: a `Database`."""

    def __init__(self, server: PostgresServer, changes: Changes) -> None:
        origin = secrets.token_hex(8)
        self._server = server
        self._committer = Committer(server, origin)
        self._writes = Writes(self._committer.commit, changes, _GROUP)
        self._tail = Tail(server, origin, changes)
        self._scans = asyncio.Semaphore(_SCANS)
        self._several: set[CodeType | None] = set()  # operations that were seen to need more than one statement

    async def __aenter__(self) -> Self:
        self._pool = await connections(self._server)
        try:
            await _check(self._pool)
            await self._tail.start()
        except BaseException:
            self._pool.terminate()
            raise
        self._writes.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._writes.close()
        await self._tail.stop()
        self._committer.close()
        self._pool.terminate()

    async def write(self, operation: Operation[T], /) -> T:
        return await self._writes.put(operation)

    async def read(self, operation: Operation[T], /) -> T:
        """A single SELECT sees one moment by itself; whatever else an operation turns out to be gets a transaction."""
        code = getattr(operation, "__code__", None)
        if code not in self._several and self._server.statement_cache_size:
            try:
                return await self._look(operation, "")
            except Several:
                self._several.add(code)
        return await self._look(operation, _BEGIN)

    async def scan(self, operation: Operation[T], /) -> T:
        async with self._scans:
            return await self._look(operation, _BEGIN_SCAN)

    async def _look(self, operation: Operation[T], begin: str) -> T:
        try:
            return await self._run(operation, begin)
        except Exception as error:
            if not is_gone(error):
                raise
        try:
            return await self._run(operation, begin)
        except Exception as error:
            if not is_gone(error):
                raise
            raise unreachable(error.__cause__ or error) from error

    async def _run(self, operation: Operation[T], begin: str) -> T:
        async with self._pool.acquire() as connection:
            try:
                if not begin:
                    return await operation(OneSelect(connection))
                async with _transaction(connection, begin):
                    return await operation(PostgresTx(connection))
            except Exception as error:
                if is_gone(error, connection):
                    await self._pool.expire_connections()  # where one is dead, others are
                    raise _Lost from error
                if isinstance(error, asyncpg.DataError) and not begin:
                    await connection.execute("SELECT")  # the driver has left the statement half sent
                if (told := translated(error)) is error:
                    raise
                raise told from None  # what it says may hold values


@asynccontextmanager
async def _transaction(connection: Any, begin: str) -> AsyncIterator[None]:
    await connection.execute(begin)
    try:
        yield
    finally:
        with suppress(asyncpg.InterfaceError):  # it is closed
            await connection.execute("ROLLBACK")  # nothing was written


async def _check(pool: asyncpg.Pool) -> None:
    async with pool.acquire() as connection:
        missing = await pending_postgres(connection)
    if missing:
        raise Conflict(f"the database lacks {missing[0].name}: run `alula migrate` first")


async def migrated(server: PostgresServer, *, dry_run: bool) -> list[str]:
    """Bring the schema up to date, or tell what that would apply."""
    connection = await connect(server)
    try:
        if dry_run:
            return [migration.name for migration in await pending_postgres(connection)]
        return await migrate_postgres(connection)
    except asyncpg.LockNotAvailableError:
        raise Unavailable("somebody holds a table that a migration needs: try again") from None
    finally:
        await connection.close()
