"""The chain of migrations on both databases: every way to the newest schema ends in the same one, and old code can
still work with it."""

import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import asyncpg
import pytest

from alula.core.errors import Conflict, Unavailable
from alula.storage import migrate as module
from alula.storage.address import Address, SqliteFile
from alula.storage.changes import Changes
from alula.storage.migrate import chain
from alula.storage.sqlite import connect
from tests.postgres import Cluster

from .builders import add_run
from .operations import put

_FILES = sorted(Path(module.__file__).parent.glob("migrations/*.sql"))
_CATALOG = """
    SELECT c.relname || '.' || a.attname AS what, concat_ws(' ', format_type(a.atttypid, a.atttypmod), a.attnotnull,
        a.attidentity, l.collname, pg_get_expr(d.adbin, d.adrelid)) AS how
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid LEFT JOIN pg_collation l ON l.oid = a.attcollation
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0
    UNION ALL SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL SELECT proname, pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    ORDER BY 1, 2
"""


@pytest.fixture(params=["sqlite", "postgres"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Address]:
    """A database that nothing has been done to."""
    if request.param == "sqlite":
        yield SqliteFile(tmp_path / "empty.db")
        return
    cluster: Cluster = request.getfixturevalue("postgres")
    server = cluster.empty()
    yield server
    cluster.drop(server)


@pytest.fixture
def another(empty: Address, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Address]:
    """One more of the same kind."""
    if isinstance(empty, SqliteFile):
        yield SqliteFile(tmp_path / "another.db")
        return
    cluster: Cluster = request.getfixturevalue("postgres")
    server = cluster.empty()
    yield server
    cluster.drop(server)


async def _catalog(address: Address) -> list[tuple[str, str]]:
    if isinstance(address, SqliteFile):
        with closing(connect(address.path)) as file:
            return [tuple(row) for row in file.execute("SELECT name, sql FROM sqlite_schema ORDER BY name")]
    connection = await asyncpg.connect(address.dsn)
    try:
        return [tuple(row) for row in await connection.fetch(_CATALOG)]
    finally:
        await connection.close()


def _chain_of(folder: Path, monkeypatch: pytest.MonkeyPatch, *more: tuple[str, str]) -> None:
    """Let the chain be the real one and some more."""
    folder.mkdir(exist_ok=True)
    for file in _FILES:
        (folder / file.name).write_text(file.read_text())
    for name, sql in more:
        (folder / name).write_text(sql)
    monkeypatch.setattr(module, "_folder", lambda: folder)


async def test_from_nothing_is_the_same_as_one_at_a_time(
    empty: Address, another: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await another.migrate()
    folder = tmp_path / "chain"
    folder.mkdir()
    monkeypatch.setattr(module, "_folder", lambda: folder)
    for file in _FILES:
        (folder / file.name).write_text(file.read_text())
        assert await empty.migrate(dry_run=True) == [file.name]
        assert await empty.migrate() == [file.name]
        assert await empty.migrate() == await empty.migrate(dry_run=True) == []
    assert await _catalog(empty) == await _catalog(another)


async def test_a_migration_that_fails_leaves_nothing(
    empty: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = "CREATE TABLE half (x INTEGER);\nINSERT INTO missing VALUES (1);"
    _chain_of(tmp_path / "chain", monkeypatch, ("9999_broken.sql", broken))
    with pytest.raises((sqlite3.Error, asyncpg.PostgresError)):
        await empty.migrate()
    assert await empty.migrate(dry_run=True) == ["9999_broken.sql"]
    assert not [name for name, _ in await _catalog(empty) if "half" in name]


_PROGRAM = """
import asyncio, sys
from alula.storage.address import parse
print("ready", flush=True)
sys.stdin.readline()
print(len(asyncio.run(parse(sys.argv[1]).migrate())))
"""


def test_several_processes_at_once(empty: Address) -> None:
    """Case O18: they take turns: all end well, and each migration was applied by one of them."""
    text = str(empty.path) if isinstance(empty, SqliteFile) else empty.dsn
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    processes = [subprocess.Popen([sys.executable, "-c", _PROGRAM, text], text=True, **pipes) for _ in range(3)]  # type: ignore[call-overload]
    for process in processes:
        process.stdout.readline()
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    applied = [int(process.communicate(timeout=60)[0]) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sum(applied) == len(_FILES)


async def test_old_code_works_on_the_schema_of_the_next_release(
    postgres: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a migration may do, done to every table; then today's code writes and reads. (A SQLite file has one server:
    there nobody is left behind.)"""
    empty = postgres.fresh()
    tables = {name.partition(".")[0] for name, _ in await _catalog(empty) if "." in name}
    sql = "CREATE TABLE brand_new (key INTEGER PRIMARY KEY, name TEXT NOT NULL);\n"
    for table in sorted(tables - {"turns", "changes", "schema_version"}):
        sql += f"ALTER TABLE {table} ADD COLUMN later TEXT;\n"
        sql += f"ALTER TABLE {table} ADD COLUMN later_still INTEGER NOT NULL DEFAULT 7;\n"
        sql += f"CREATE INDEX {table}_by_later ON {table} (later);\n"
    with monkeypatch.context() as newer:
        _chain_of(tmp_path / "chain", newer, ("9998_more.sql", sql))
        assert await empty.migrate() == ["9998_more.sql"]
    assert await empty.migrate() == []
    async with empty.database(Changes()) as database:
        await database.write(lambda tx: add_run(tx, "r"))
        await database.write(put("x"))
        found = await database.read(lambda tx: tx.one("SELECT name, seq FROM runs"))
        assert found is not None
        assert tuple(found) == ("r", 1)
    postgres.drop(empty)


async def test_code_that_is_too_old_is_refused(
    postgres: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A migration that takes something away says which code it leaves behind; later ones need not repeat it."""
    server = postgres.empty()
    oldest = len(_FILES) + 1
    with monkeypatch.context() as newer:
        more = [
            ("9996_prepares.sql", "CREATE TABLE more (x INTEGER);"),
            ("9997_takes_away.sql", f"-- oldest: {oldest}\nALTER TABLE heartbeat DROP COLUMN at;"),
            ("9998_adds.sql", "CREATE TABLE even_more (x INTEGER);"),
        ]
        _chain_of(tmp_path / "chain", newer, *more)
        assert len(await server.migrate()) == len(_FILES) + 3
        (tmp_path / "chain" / "9998_adds.sql").unlink()
        (tmp_path / "chain" / "9997_takes_away.sql").unlink()
        assert await server.migrate() == [], "who knows the one before works on"
        async with server.database(Changes()):
            pass
    for refused in (server.migrate(), server.migrate(dry_run=True), server.database(Changes()).__aenter__()):
        with pytest.raises(Conflict, match="upgrade alula"):
            await refused
    postgres.drop(server)


async def test_the_database_of_another_project_is_refused(
    postgres: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = postgres.fresh()
    _chain_of(tmp_path / "chain", monkeypatch)
    (tmp_path / "chain" / _FILES[0].name).rename(tmp_path / "chain" / "0001_other.sql")
    with pytest.raises(Conflict, match="two projects"):
        await server.migrate()
    postgres.drop(server)


async def test_a_table_that_is_held_is_not_waited_for_by_all(
    postgres: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = postgres.fresh()
    _chain_of(tmp_path / "chain", monkeypatch, ("9999_more.sql", "ALTER TABLE runs ADD COLUMN later TEXT;"))
    monkeypatch.setattr(module, "_PATIENCE", "50ms")
    holder = await asyncpg.connect(server.dsn)
    async with holder.transaction():
        await holder.execute("LOCK TABLE runs")
        with pytest.raises(Unavailable, match="try again"):
            await server.migrate()
    assert await server.migrate() == ["9999_more.sql"]
    await holder.close()
    postgres.drop(server)


_ADDITION = re.compile(
    r"CREATE TABLE \w+ \(|CREATE (?:UNIQUE )?INDEX \w+ ON (?P<table>\w+)|ALTER TABLE \w+ ADD COLUMN (?P<column>[^;]*)"
)


@pytest.mark.parametrize("file", _FILES, ids=lambda file: file.name)
def test_a_migration_only_adds_or_says_whom_it_leaves_behind(file: Path) -> None:
    """Tables, indexes, columns that old code need not fill; a unique index only on a table of the same file."""
    sql = re.sub(r"--[^\n]*", "", file.read_text())
    if file.read_text().startswith("-- oldest:"):
        return
    for statement in filter(None, (" ".join(piece.split()) for piece in sql.split(";"))):
        adds = _ADDITION.match(statement)
        assert adds, statement
        column = adds["column"]
        assert column is None or "NOT NULL" not in column or "DEFAULT" in column, statement
        if statement.startswith("CREATE UNIQUE"):
            assert f"CREATE TABLE {adds['table']} " in sql, statement


def test_no_two_migrations_have_one_number() -> None:
    numbers = [migration.name[:4] for migration in chain()]
    assert numbers == sorted(set(numbers))
