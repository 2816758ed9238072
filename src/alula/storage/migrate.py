"""One chain of migrations: numbered SQL files, each applied once, in order, in a transaction."""

import sqlite3
from importlib import resources

from alula.core.errors import Conflict

_APPLICATION = 0x616C756C  # "alul": marks the file as ours (PRAGMA application_id)


def migrate(connection: sqlite3.Connection) -> list[str]:
    """Bring the schema up to date; the names of the migrations applied now.

    Raises:
        Conflict: the file was written by a newer alula, or is not alula's.
    """
    _check_owner(connection)
    connection.execute("PRAGMA journal_mode = WAL")  # the file remembers it
    chain = sorted((f for f in _folder().iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    applied = connection.execute("PRAGMA user_version").fetchone()[0]
    if applied > len(chain):
        raise Conflict(f"the database is at version {applied}, this alula knows {len(chain)}: upgrade alula")
    for number, file in enumerate(chain[applied:], start=applied + 1):
        connection.executescript(f"BEGIN IMMEDIATE;\n{file.read_text()}\nPRAGMA user_version = {number};\nCOMMIT;")
    return [file.name for file in chain[applied:]]


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
