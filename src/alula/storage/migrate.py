"""One chain of migrations: numbered SQL files, each applied once, in order, in a transaction.

A migration only adds: tables, indexes, columns that may be NULL or have a default. So a server of the release before
goes on working while others are upgraded. One that takes something away or changes its meaning comes a release after
the last code that needs it, and says ``-- oldest: N`` in its first line: code that knows fewer than N migrations is
refused from then on.
"""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from alula.core.errors import Conflict
from alula.storage import dialect

if TYPE_CHECKING:
    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

    Connection = asyncpg.Connection | PoolConnectionProxy

_APPLICATION = 0x616C756C  # "alul": marks the file as ours (PRAGMA application_id); the lock's name in PostgreSQL
_PATIENCE = "10s"  # for somebody who holds a table
_OLDEST = re.compile(r"-- oldest: (\d+)\n")


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of the chain. ``oldest``: how many migrations code must know to work with what it leaves."""

    number: int
    name: str
    sql: str
    oldest: int


def chain() -> list[Migration]:
    """Every migration this alula knows, in order."""
    files = sorted((f for f in _folder().iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    found: list[Migration] = []
    oldest = 0
    for number, file in enumerate(files, start=1):
        sql = file.read_text()
        told = _OLDEST.match(sql)
        oldest = max(oldest, int(told[1])) if told else oldest
        found.append(Migration(number, file.name, sql, oldest))
    return found


def migrate(connection: sqlite3.Connection) -> list[str]:
    """Bring the schema of a file up to date; the names of the migrations applied now.

    Raises:
        Conflict: the file was written by a newer alula, or is not alula's.
    """
    with _alone(connection):
        _check_owner(connection)
    connection.execute("PRAGMA journal_mode = WAL")  # the file remembers it
    applied = []
    while name := _apply_next(connection):
        applied.append(name)
    return applied


def pending(connection: sqlite3.Connection) -> list[Migration]:
    """What `migrate` would apply to a file. One that is newer is refused: one server has it, so none is left behind."""
    known = chain()
    applied = connection.execute("PRAGMA user_version").fetchone()[0]
    if applied > len(known):
        raise _newer(applied, len(known))
    return known[applied:]


async def migrate_postgres(connection: "Connection") -> list[str]:
    """Bring the schema of a PostgreSQL database up to date; the names of the migrations applied now.

    Any number of servers may do so at once: they take turns, a migration at a time.

    Raises:
        Conflict: the database was written by a newer alula that this one does not work with, or is not alula's.
        Unavailable: somebody holds a table for too long.
    """
    applied = []
    while name := await _apply_next_postgres(connection):
        applied.append(name)
    return applied


async def pending_postgres(connection: "Connection") -> list[Migration]:
    """What `migrate_postgres` would apply.

    Raises:
        Conflict: see there.
    """
    if await connection.fetchval("SELECT to_regclass('schema_version')") is None:
        return chain()
    return _missing([tuple(row) for row in await connection.fetch(_APPLIED)])


_APPLIED = "SELECT name, oldest FROM schema_version ORDER BY number"


@contextmanager
def _alone(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _apply_next(connection: sqlite3.Connection) -> str:
    with _alone(connection):
        missing = pending(connection)
        if not missing:
            return ""
        for statement in _statements(missing[0].sql):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {missing[0].number}")
        return missing[0].name


def _statements(script: str) -> Iterator[str]:
    """One by one: what runs scripts as a whole would end the transaction first."""
    text = ""
    for piece in script.split(";")[:-1]:
        text += f"{piece};"
        if sqlite3.complete_statement(text):
            yield text
            text = ""


async def _apply_next_postgres(connection: "Connection") -> str:
    async with connection.transaction(isolation="read_committed"):
        await connection.execute(f"SELECT pg_advisory_xact_lock({_APPLICATION})")
        await connection.execute(f"SET LOCAL lock_timeout = '{_PATIENCE}'")  # all others queue behind this one
        missing = await pending_postgres(connection)
        if not missing:
            return ""
        await connection.execute((resources.files(__package__) / "postgres.sql").read_text())
        first = missing[0]
        await connection.execute(dialect.schema(first.sql))
        await connection.execute(
            "INSERT INTO schema_version (number, name, oldest) VALUES ($1, $2, $3)",
            *(first.number, first.name, first.oldest),
        )
        return first.name


def _missing(applied: list[tuple[str, int]]) -> list[Migration]:
    known = chain()
    for migration, (name, _) in zip(known, applied, strict=False):
        if migration.name != name:
            raise Conflict(f"the database has {name} where this alula has {migration.name}: they are of two projects")
    if len(applied) > len(known) and applied[-1][1] > len(known):
        raise _newer(len(applied), len(known))
    return known[len(applied) :]


def _newer(applied: int, known: int) -> Conflict:
    return Conflict(f"the database is at version {applied}, this alula knows {known}: upgrade alula")


def _folder() -> resources.abc.Traversable:
    return resources.files(__package__) / "migrations"


def _check_owner(connection: sqlite3.Connection) -> None:
    owner = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if owner == _APPLICATION:
        return
    if owner or tables:
        raise Conflict("the database file is not one of alula's: name another with --home")
    connection.execute(f"PRAGMA application_id = {_APPLICATION}")
