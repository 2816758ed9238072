"""Connections to PostgreSQL, and a transaction over one as an operation sees it."""

from collections.abc import Iterable, Sequence
from typing import Any

import asyncpg

from alula.core.errors import Invalid
from alula.storage import dialect
from alula.storage.address import PostgresServer
from alula.storage.changes import Change
from alula.storage.database import NONE, Row, Values
from alula.storage.failures import FAILURES, unreachable

_CONNECT_SECONDS = 5
_COMMAND_SECONDS = 60  # a server that is silent for so long is given up
_HINTS = "SET jit = off"  # it never pays for statements as short as these


class PostgresTx:
    """A transaction of PostgreSQL."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.changed: list[Change] = []

    async def execute(self, sql: str, values: Values = NONE, /) -> int:
        statement = dialect.statement(sql)
        told: str = await self._connection.execute(statement.text, *statement.bind(values))
        count = told.rpartition(" ")[2]
        return int(count) if count.isdecimal() else 0

    async def many(self, sql: str, values: Sequence[Values], /) -> None:
        statement = dialect.statement(sql)
        await self._connection.executemany(statement.text, [statement.bind(one) for one in values])

    async def one(self, sql: str, values: Values = NONE, /) -> Row | None:
        statement = dialect.statement(sql)
        row: Row | None = await self._connection.fetchrow(statement.text, *statement.bind(values))
        return row

    async def all(self, sql: str, values: Values = NONE, /) -> list[Row]:
        statement = dialect.statement(sql)
        rows: list[Row] = await self._connection.fetch(statement.text, *statement.bind(values))
        return rows

    def touch(self, changes: Iterable[Change], /) -> None:
        self.changed.extend(changes)


class Several(BaseException):
    """An operation that was taken for one SELECT is more than that. Not an `Exception`: no operation catches it."""


class OneSelect(PostgresTx):
    """A single SELECT, which sees one moment without a transaction.

    Raises:
        Several: the operation asks for something else, or for more.
    """

    _asked = False

    async def execute(self, sql: str, values: Values = NONE, /) -> int:
        raise Several

    async def many(self, sql: str, values: Sequence[Values], /) -> None:
        raise Several

    async def one(self, sql: str, values: Values = NONE, /) -> Row | None:
        self._ask(sql)
        return await super().one(sql, values)

    async def all(self, sql: str, values: Values = NONE, /) -> list[Row]:
        self._ask(sql)
        return await super().all(sql, values)

    def _ask(self, sql: str) -> None:
        if self._asked or not dialect.statement(sql).reads:
            raise Several
        self._asked = True


async def connect(server: PostgresServer) -> asyncpg.Connection:
    """A new connection.

    Raises:
        Unavailable: the server cannot be reached.
        Conflict: it refuses alula.
    """
    try:
        connection: asyncpg.Connection = await asyncpg.connect(server.dsn, **_options(server))
        await _prepare(connection)
    except FAILURES as error:
        raise unreachable(error) from error
    except (ValueError, OverflowError):
        raise _misunderstood() from None
    return connection


async def connections(server: PostgresServer) -> asyncpg.Pool:
    """A pool of connections. They are handed on as they are: nobody sets anything that outlives a transaction.

    Raises:
        Unavailable: the server cannot be reached.
        Conflict: it refuses alula.
    """
    try:
        return await asyncpg.create_pool(
            server.dsn,
            min_size=1,
            max_size=server.pool_size,
            max_queries=1_000_000,
            init=_prepare,
            reset=_leave,
            **_options(server),
        )
    except FAILURES as error:
        raise unreachable(error) from error
    except (ValueError, OverflowError):
        raise _misunderstood() from None


def _misunderstood() -> Invalid:
    return Invalid("the database's address is not one: say postgresql://USER@HOST:PORT/NAME")


def _options(server: PostgresServer) -> dict[str, Any]:
    return {
        "timeout": _CONNECT_SECONDS,
        "command_timeout": _COMMAND_SECONDS,
        "statement_cache_size": server.statement_cache_size,
        "max_cached_statement_lifetime": 0,
    }


async def _prepare(connection: asyncpg.Connection) -> None:
    await connection.execute(_HINTS)
    await connection.set_type_codec("numeric", schema="pg_catalog", encoder=str, decoder=_number, format="text")


async def _leave(_: asyncpg.Connection) -> None:
    """In place of the four statements that the driver would clean a connection with."""


def _number(text: str) -> int | float:
    """What ``sum`` of integers gives: SQLite has an integer there."""
    return float(text) if "." in text else int(text)
