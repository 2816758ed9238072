"""Where the database is, as text, and what opens it: ``sqlite:///PATH``, a plain path, or ``postgresql://...``."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from alula.core.errors import Invalid, Unavailable
from alula.storage.changes import Changes
from alula.storage.database import Database
from alula.storage.migrate import chain, migrate, pending
from alula.storage.sqlite import Sqlite, connect


@dataclass(frozen=True, slots=True)
class SqliteFile:
    """A file of its own."""

    path: Path

    def database(self, changes: Changes) -> Database:
        return Sqlite(self.path, changes)

    async def migrate(self, *, dry_run: bool = False) -> list[str]:
        """Bring the schema up to date; the names of the migrations applied, or that would be."""
        if dry_run and not self.path.exists():
            return [migration.name for migration in chain()]
        try:
            with closing(connect(self.path)) as connection:
                return [migration.name for migration in pending(connection)] if dry_run else migrate(connection)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_ERROR:  # a mistake in a migration
                raise
            raise Unavailable(f"{self.path}: {error}; is its folder there, and may alula write in it?") from error


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A PostgreSQL server. ``dsn`` is what libpq takes too, and may hold a password: it is never printed."""

    dsn: str = field(repr=False)
    statement_cache_size: int = 512  # 0 for a pgbouncer that knows no prepared statements
    pool_size: int = 8

    def __str__(self) -> str:
        parts = urlsplit(self.dsn)
        return f"postgresql://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def database(self, changes: Changes) -> Database:
        from alula.storage.postgres import Postgres

        return Postgres(self, changes)

    async def migrate(self, *, dry_run: bool = False) -> list[str]:
        from alula.storage.postgres import migrated

        return await migrated(self, dry_run=dry_run)


Address = SqliteFile | PostgresServer
_OWN = {"statement_cache_size": (0, 100_000), "pool_size": (1, 1_000)}


def parse(text: str) -> Address:
    """An address from its text. Of a PostgreSQL server, ``?statement_cache_size=`` and ``?pool_size=`` are for alula.

    Raises:
        Invalid: it is none of the forms.
    """
    scheme, separator, rest = text.partition("://")
    if text and not separator:
        return SqliteFile(Path(text).expanduser())
    if scheme == "sqlite" and rest.startswith("/") and len(rest) > 1:
        return SqliteFile(Path(rest))
    if scheme in ("postgresql", "postgres"):
        return _server(text)
    raise Invalid(
        f"{scheme!r} is the start of no database's address: say sqlite:///PATH or postgresql://USER@HOST:PORT/NAME"
    )


def _server(text: str) -> PostgresServer:
    parts = urlsplit(text)
    query = parse_qsl(parts.query, keep_blank_values=True)
    own = {name: _number(name, value) for name, value in query if name in _OWN}
    rest = urlencode([(name, value) for name, value in query if name not in _OWN])
    return PostgresServer(urlunsplit(parts._replace(query=rest)), **own)


def _number(name: str, value: str) -> int:
    least, most = _OWN[name]
    if value.isdecimal() and least <= int(value) <= most:
        return int(value)
    raise Invalid(f"{name}={value}: it is a number from {least} to {most}")
