"""Writes in groups and reads on snapshots: what both databases promise when something fails, and when nothing does."""

import asyncio
from contextlib import closing
from typing import Any

import pytest

from alula.core.errors import Conflict, Invalid, Unavailable
from alula.storage.address import Address, SqliteFile
from alula.storage.changes import Changes, everything
from alula.storage.database import Database, Tx, Violated
from alula.storage.postgres import Postgres
from alula.storage.sqlite import connect

from .builders import add_run
from .operations import names, put, together, told


async def test_more_than_a_group(database: Database) -> None:
    wanted = [f"{n:03}" for n in range(500)]
    assert await together(database, *map(put, wanted)) == wanted
    assert await database.read(names) == wanted


async def test_an_operation_that_fails_leaves_no_trace_and_harms_no_other(database: Database, changes: Changes) -> None:
    async def fail(tx: Tx) -> None:
        await put("half done")(tx)
        raise Conflict("no")

    async def break_a_constraint(tx: Tx) -> None:
        await put("a")(tx)
        await put("a")(tx)

    with changes.watch(everything()) as watch:
        results = await together(database, put("1"), fail, put("2"), break_a_constraint, put("3"))
        heard = await told(watch)
    assert [results[0], results[2], results[4]] == ["1", "2", "3"]
    assert isinstance(results[1], Conflict)
    assert isinstance(results[3], Violated)
    assert await database.read(names) == ["1", "2", "3"]
    assert heard == {"1", "2", "3"}


async def test_the_write_of_a_caller_who_left_is_carried_out(database: Database, changes: Changes) -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))

    async def fail(tx: Tx) -> None:
        raise Conflict("nobody listens")

    with changes.watch(everything()) as watch:
        tasks = [asyncio.create_task(database.write(operation)) for operation in (put("kept"), fail)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends)
        assert await told(watch) == {"kept"}
    assert await database.read(names) == ["kept"]
    assert complaints == []


async def test_reads_cannot_write_and_go_on_after_an_error(database: Database) -> None:
    for look in (database.read, database.scan):
        with pytest.raises(Exception, match=r"read-?only"):
            await look(put("1"))
        assert await look(names) == []


async def test_what_was_handed_over_is_done_before_the_end(address: Address) -> None:
    async with address.database(Changes()) as database:
        writes = [asyncio.create_task(database.write(put(str(n)))) for n in range(100)]
        await asyncio.sleep(0)
    assert len(await asyncio.gather(*writes)) == 100


async def test_a_write_after_the_end_is_refused(address: Address) -> None:
    async with address.database(Changes()) as database:
        pass
    async with asyncio.timeout(5):
        with pytest.raises(Unavailable):
            await database.write(put("late"))


async def test_foreign_keys_hold(database: Database) -> None:
    async def orphan(tx: Tx) -> None:
        await add_run(tx, "r")
        await tx.execute("UPDATE actions SET spec = x'00'")

    with pytest.raises(Violated):
        await database.write(orphan)


async def test_a_write_that_has_returned_is_visible_to_everybody(database: Database, address: Address) -> None:
    async with address.database(Changes()) as other:
        for n in range(20):
            await database.write(put(str(n)))
            assert len(await other.read(names)) == n + 1
            assert len(await other.scan(names)) == n + 1


@pytest.mark.parametrize("how", ["read", "scan"])
async def test_reads_see_one_moment(database: Database, address: Address, how: str) -> None:
    async with address.database(Changes()) as other:
        await database.write(put("1"))
        looked, written = asyncio.Event(), asyncio.Event()
        look = getattr(database, how)

        async def look_twice(tx: Tx) -> tuple[list[str], list[str]]:
            first = await names(tx)
            if isinstance(database, Postgres):
                looked.set()
                await written.wait()
            else:
                _insert_at_once(address)
            return first, await names(tx)

        if isinstance(database, Postgres):
            looking = asyncio.create_task(look(look_twice))
            await looked.wait()
            await other.write(put("2"))
            written.set()
            first, second = await looking  # it may have been started again
            assert first == second
        else:
            assert await look(look_twice) == (["1"], ["1"])
        assert await look(names) == ["1", "2"]


async def test_rows_by_name_and_by_place(database: Database) -> None:
    await database.write(put("x", 3))
    [row] = await database.read(lambda tx: tx.all("SELECT digest, length(body) AS size FROM specs"))
    assert (row["digest"], row["size"], row[1]) == (b"x", 3, 3)
    assert (list(row.keys()), list(row), len(row)) == (["digest", "size"], [b"x", 3], 2)
    assert await database.read(lambda tx: tx.one("SELECT digest FROM specs WHERE digest = x'00'")) is None


async def test_sums_are_integers(database: Database) -> None:
    await together(database, put("a", 3), put("b", 4))
    row = await database.read(lambda tx: tx.one("SELECT sum(length(body)) AS all_of, count(*) AS n FROM specs"))
    assert row is not None
    assert [(type(value), value) for value in row] == [(int, 7), (int, 2)]


async def test_execute_counts_the_rows_it_changed(database: Database) -> None:
    async def change(tx: Tx) -> list[int]:
        return [
            await tx.execute("INSERT INTO specs VALUES (:n, x'')", {"n": b"1"}),
            await tx.execute("INSERT INTO specs VALUES (:n, x'') ON CONFLICT DO NOTHING", {"n": b"1"}),
            await tx.execute("INSERT INTO specs VALUES (:n, x'')", {"n": b"2"}),
            await tx.execute("UPDATE specs SET body = x'0a'"),
            await tx.execute("DELETE FROM specs WHERE digest = :n", {"n": b"3"}),
        ]

    assert await database.write(change) == [1, 0, 1, 2, 0]


@pytest.mark.parametrize("value", ["\ud800", 2**63, -(2**63) - 1])
async def test_what_cannot_be_stored_is_invalid(database: Database, value: object) -> None:
    column = "name" if isinstance(value, str) else "created_at"

    async def change(tx: Tx) -> None:
        await tx.execute(f"UPDATE projects SET {column} = :value", {"value": value})

    async def find(tx: Tx) -> object:
        return await tx.one(f"SELECT * FROM projects WHERE {column} = :value", {"value": value})

    results = await together(database, put("1"), change, put("2"))
    assert [type(result) for result in results] == [str, Invalid, str]
    for look in (database.read, database.scan):
        with pytest.raises(Invalid):
            await look(find)
    assert await database.read(names) == ["1", "2"]


async def test_many_at_once(database: Database) -> None:
    sql = "INSERT INTO specs VALUES (:name, :body)"

    async def insert(tx: Tx, *found: object) -> None:
        await tx.many(sql, [{"name": name, "body": b""} for name in found])

    results = await together(
        database,
        lambda tx: insert(tx, b"1", b"2", b"3"),
        lambda tx: insert(tx),
        lambda tx: insert(tx, b"4", b"1"),
        lambda tx: insert(tx, *(f"{n:04}".encode() for n in range(2000))),
    )
    assert [type(result) for result in results] == [type(None), type(None), Violated, type(None)]
    assert len(await database.read(names)) == 2003
    for look in (database.read, database.scan):
        with pytest.raises(Exception, match=r"read-?only"):
            await look(lambda tx: insert(tx, b"5"))


async def test_many_of_which_one_cannot_be_stored(database: Database) -> None:
    async def change(tx: Tx) -> None:
        values = [{"title": title, "state": state} for title, state in [("a", 1), ("b", 2**63), ("c", 3)]]
        await tx.many("UPDATE projects SET title = :title, state = :state", values)

    results = await together(database, put("1"), change, put("2"))
    assert [type(result) for result in results] == [str, Invalid, str]
    assert await database.read(names) == ["1", "2"]


async def test_a_mistaken_operation_harms_no_other(database: Database) -> None:
    async def mistake(tx: Tx) -> None:
        await put("half done")(tx)
        await tx.execute("UPDATE projects SET title = :missing")

    results = await together(database, put("1"), mistake, put("2"))
    assert [type(result) is str for result in results] == [True, False, True]
    assert await database.read(names) == ["1", "2"]


def _insert_at_once(address: Address) -> None:
    assert isinstance(address, SqliteFile)
    with closing(connect(address.path)) as other:
        other.execute("INSERT INTO specs VALUES (CAST('2' AS BLOB), x'')")
