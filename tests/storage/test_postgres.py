"""What is PostgreSQL's own: several servers on one database, connections that die, and what it cannot store."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import pytest

from alula.core.errors import Conflict, Exhausted, Invalid, Unavailable
from alula.storage import committer
from alula.storage import postgres as module
from alula.storage.address import PostgresServer, parse
from alula.storage.changes import Changes, everything
from alula.storage.database import Database, Tx, Violated
from alula.storage.postgres import Postgres
from tests.postgres import Cluster, running

from .operations import names, put, together, told


@pytest.fixture
def server(postgres: Cluster) -> Iterator[PostgresServer]:
    server = postgres.fresh()
    yield server
    postgres.drop(server)


@pytest.fixture
async def databases(server: PostgresServer, changes: Changes) -> AsyncIterator[list[Database]]:
    """Three servers on one database; watches see the first one's changes."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(server.database(seen)) for seen in (changes, Changes(), Changes())]


@pytest.fixture
def database(databases: list[Database]) -> Database:
    return databases[0]


async def _kill(server: PostgresServer) -> None:
    """Every connection to a database but this one."""
    connection = await asyncpg.connect(server.dsn)
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await connection.close()


async def _die(tx: Tx) -> None:
    await tx.all("SELECT pg_terminate_backend(pg_backend_pid())")


async def test_a_group_is_one_transaction(database: Database) -> None:
    async def which(tx: Tx) -> int:
        row = await tx.one("SELECT pg_current_xact_id()::text AS id")
        assert row is not None
        return int(row["id"])

    assert len(set(await together(database, *[which] * 32))) == 1


async def test_no_update_is_lost(databases: list[Database]) -> None:
    """Read, add one, write: from three servers at once."""
    await databases[0].write(put("counter"))

    async def count(tx: Tx) -> None:
        row = await tx.one("SELECT length(body) AS n FROM specs")
        assert row is not None
        await tx.execute("UPDATE specs SET body = :body", {"body": b"x" * (row["n"] + 1)})

    for _ in range(5):
        await asyncio.gather(*(database.write(count) for database in databases for _ in range(10)))
    row = await databases[1].read(lambda tx: tx.one("SELECT length(body) AS n FROM specs"))
    assert row is not None
    assert row["n"] == 150


async def test_what_was_read_still_holds_at_the_commit(databases: list[Database]) -> None:
    """Write skew: each takes the place if it is free, in a row of its own."""

    async def take(tx: Tx, who: str) -> bool:
        if await tx.all("SELECT digest FROM specs"):
            return False
        await put(who)(tx)
        return True

    for turn in range(15):
        taken = await asyncio.gather(
            *(database.write(lambda tx, who=f"{n}": take(tx, who)) for n, database in enumerate(databases))  # type: ignore[misc]
        )
        assert sum(taken) == 1, turn
        await databases[0].write(lambda tx: tx.execute("DELETE FROM specs"))


async def test_a_race_for_a_name(databases: list[Database]) -> None:
    """Who looks first and finds nothing is never told that the name is taken."""

    async def ensure(tx: Tx, name: str) -> bool:
        if await tx.one("SELECT 1 AS one FROM specs WHERE digest = :name", {"name": name.encode()}):
            return False
        await put(name)(tx)
        return True

    for turn in range(15):
        made = await asyncio.gather(
            *(database.write(lambda tx, name=f"{turn:02}": ensure(tx, name)) for database in databases for _ in "ab")  # type: ignore[misc]
        )
        assert sum(made) == 1
    results = await asyncio.gather(*(database.write(put("00")) for database in databases), return_exceptions=True)
    assert [type(result) for result in results] == [Violated] * 3
    assert await databases[0].read(names) == [f"{turn:02}" for turn in range(15)]


async def test_a_name_taken_between_the_look_and_the_insert(database: Database, server: PostgresServer) -> None:
    """By somebody who is not serializable: it is reported as taken, and yet the operation had looked."""
    stranger = await asyncpg.connect(server.dsn)
    looked = asyncio.Event()

    async def ensure(tx: Tx) -> bool:
        found = await tx.one("SELECT 1 AS one FROM specs WHERE digest = :name", {"name": b"x"})
        if found is None:
            looked.set()
            await put("x")(tx)
        return found is None

    async with stranger.transaction():
        await stranger.execute(r"INSERT INTO specs VALUES ('\x78', '')")
        writing = asyncio.create_task(together(database, put("1"), ensure, put("2")))
        await looked.wait()
    assert await writing == ["1", False, "2"]
    await stranger.close()
    assert await database.read(names) == ["1", "2", "x"]


async def test_a_deadlock_is_nobodys_business(databases: list[Database]) -> None:
    await together(databases[0], put("a"), put("b"))
    here, there = asyncio.Event(), asyncio.Event()

    def crossing(first: str, second: str, mine: asyncio.Event, others: asyncio.Event) -> Any:
        async def operation(tx: Tx) -> None:
            for name in (first, second):
                values = {"body": first.encode(), "name": name.encode()}
                await tx.execute("UPDATE specs SET body = body || :body WHERE digest = :name", values)
                mine.set()
                await others.wait()

        return operation

    async with asyncio.timeout(20):
        await asyncio.gather(
            databases[0].write(crossing("a", "b", here, there)), databases[1].write(crossing("b", "a", there, here))
        )
    bodies = await databases[0].read(lambda tx: tx.all("SELECT body FROM specs"))
    assert [sorted(row["body"]) for row in bodies] == [sorted(b"ab")] * 2


async def test_a_connection_lost_before_the_commit(databases: list[Database], changes: Changes) -> None:
    """The group is run again on another, and told of once."""
    deaths = iter([True])

    async def die_once(tx: Tx) -> None:
        if next(deaths, False):
            await _die(tx)

    with changes.watch(everything()) as watch:
        assert await together(databases[0], put("1"), die_once, put("2")) == ["1", None, "2"]
        assert await told(watch) == {"1", "2"}
        assert not watch._pending
    assert await databases[1].read(names) == ["1", "2"]


async def test_a_connection_lost_during_the_commit(databases: list[Database], server: PostgresServer) -> None:
    """Nobody knows what became of it, and nobody says otherwise."""
    connection = await asyncpg.connect(server.dsn)
    await connection.execute(
        """
        CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql
            AS $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$;
        CREATE CONSTRAINT TRIGGER die AFTER INSERT ON specs DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION die();
        """
    )
    results = await together(databases[0], put("1"), put("2"))
    assert [type(result) for result in results] == [Unavailable] * 2
    assert "may or may not" in str(results[0])
    await connection.execute("DROP TRIGGER die ON specs")
    await connection.close()
    assert await databases[0].write(put("next")) == "next"


async def test_every_connection_lost(databases: list[Database], server: PostgresServer) -> None:
    for n in range(5):
        await _kill(server)
        assert await databases[0].write(put(f"{n}a")) == f"{n}a"
        await _kill(server)
        assert len(await databases[0].read(names)) == n + 1
        await _kill(server)
        assert len(await databases[0].scan(names)) == n + 1


async def test_a_server_that_is_gone(changes: Changes) -> None:
    """It is unavailable; nothing is not found."""
    with running() as cluster:
        server = cluster.fresh()
        database = server.database(changes)
        await database.__aenter__()
        await database.write(put("1"))
        leaving = asyncio.to_thread(cluster.execute, "SELECT 1")
        await leaving
    for look in (database.read, database.scan):
        with pytest.raises(Unavailable, match="cannot be reached"):
            await look(names)
    results = await together(database, put("2"), put("3"))
    assert [type(result) for result in results] == [Unavailable] * 2
    assert "nothing was done" in str(results[0])
    await database.__aexit__()
    with pytest.raises(Unavailable, match="cannot be reached"):
        await server.database(changes).__aenter__()


async def test_readers_who_leave_cost_no_connection(database: Database) -> None:
    async def sleep(tx: Tx) -> object:
        return await tx.all("SELECT pg_sleep(60)")

    for look in (database.read, database.scan):
        readers = [asyncio.create_task(look(sleep)) for _ in range(12)]
        await asyncio.sleep(0.05)
        for reader in readers:
            reader.cancel()
        ends = await asyncio.gather(*readers, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends)
        async with asyncio.timeout(10):
            assert await asyncio.gather(*(look(names) for _ in range(20))) == [[]] * 20


async def test_a_scan_that_takes_too_long(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BEGIN_SCAN", module._BEGIN_SCAN.replace("30s", "20ms"))
    with pytest.raises(Exhausted, match="too long"):
        await database.scan(lambda tx: tx.all("SELECT pg_sleep(60)"))
    assert await database.scan(names) == []


async def test_a_write_that_takes_too_long_harms_no_other(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committer, "_BESIDE", committer._BESIDE.replace("30s", "100ms"))

    async def sleep(tx: Tx) -> object:
        return await tx.all("SELECT pg_sleep(60)")

    results = await together(database, put("1"), sleep, put("2"))
    assert [type(result) for result in results] == [str, Exhausted, str]
    assert await database.read(names) == ["1", "2"]


async def test_who_lost_a_race_is_alone_afterwards(databases: list[Database], monkeypatch: pytest.MonkeyPatch) -> None:
    """So the second try of a group succeeds, whatever the others go on doing."""
    monkeypatch.setattr(committer, "_TRIES", 2)

    async def count(tx: Tx) -> None:
        rows = await tx.all("SELECT digest FROM specs")
        await put(f"{len(rows):04}")(tx)

    results = await asyncio.gather(*(database.write(count) for _ in range(60) for database in databases))
    assert len(results) == 180
    assert await databases[0].read(names) == [f"{n:04}" for n in range(180)]


async def test_a_nul_is_invalid_and_harms_no_other(database: Database) -> None:
    async def name(tx: Tx) -> None:
        await tx.execute("UPDATE projects SET title = :title", {"title": "a\0b"})

    results = await together(database, put("1"), name, put("2"))
    assert [type(result) for result in results] == [str, Invalid, str]
    for look in (database.read, database.scan):
        with pytest.raises(Invalid, match="NUL"):
            await look(lambda tx: tx.one("SELECT 1 AS one FROM projects WHERE name = :name", {"name": "\0"}))
        assert await look(names) == ["1", "2"]


async def test_labels_that_jsonb_would_refuse(database: Database) -> None:
    sql = """SELECT json_extract(:labels, '$."a"') AS a, json_extract(:labels, '$."b"') AS b"""
    row = await database.read(lambda tx: tx.one(sql, {"labels": r'{"a": "x\u0000\\u0000", "c": 1}'}))
    assert row is not None
    assert (row["a"], row["b"]) == ("x\ufffd\\ufffd", None)


async def test_errors_tell_no_values(database: Database) -> None:
    async def wrong_type(tx: Tx) -> None:
        await tx.execute("UPDATE projects SET state = :state", {"state": "hunter2"})

    async def taken(tx: Tx) -> None:
        await put("hunter2")(tx)
        await put("hunter2")(tx)

    async def wrong_type_of_many(tx: Tx) -> None:
        await tx.many("UPDATE projects SET state = :state", [{"state": 1}, {"state": "hunter2"}])

    for operation, says in ((wrong_type, "argument"), (wrong_type_of_many, "argument"), (taken, "specs_pkey")):
        with pytest.raises(Exception, match=says) as caught:
            await database.write(operation)
        assert "hunter2" not in repr(caught.getrepr(chain=True, showlocals=False).reprcrash)


async def test_a_database_without_the_schema_is_refused(postgres: Cluster, changes: Changes) -> None:
    server = postgres.empty()
    with pytest.raises(Conflict, match="alula migrate"):
        await server.database(changes).__aenter__()
    postgres.drop(server)


async def test_a_database_that_is_not_there(server: PostgresServer, changes: Changes) -> None:
    other = parse(server.dsn.replace("/alula_test", "/no_such"))
    with pytest.raises(Conflict, match="no_such"):
        await other.database(changes).__aenter__()


async def test_behind_a_pooler_of_transactions(server: PostgresServer, changes: Changes) -> None:
    """Without prepared statements, each read in a transaction of its own."""
    async with Postgres(PostgresServer(server.dsn, statement_cache_size=0), changes) as database:
        assert await together(database, put("1"), put("2")) == ["1", "2"]
        assert await database.read(names) == await database.scan(names) == ["1", "2"]
