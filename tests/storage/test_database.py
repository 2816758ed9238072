"""Writes in groups and reads on snapshots: what is promised when something fails, and when nothing does."""

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from alula.core.errors import Conflict, Unavailable
from alula.core.phase import Phase
from alula.storage.changes import Change, Changes, everything
from alula.storage.database import Database, Tx, connect

from .builders import add_run, fresh


def _put(name: str, size: int = 0) -> Any:
    """An operation: write one row and tell of it."""

    async def operation(tx: Tx) -> str:
        await tx.execute("INSERT INTO specs VALUES (:name, :body)", {"name": name.encode(), "body": b"x" * size})
        tx.touch([Change(1, name, "", Phase.QUEUED)])
        return name

    return operation


async def _names(tx: Tx) -> list[str]:
    return [row["digest"].decode() for row in await tx.all("SELECT digest FROM specs ORDER BY digest")]


@contextmanager
def _outsider(path: Path) -> Iterator[sqlite3.Connection]:
    connection = connect(path, read_only=True)
    try:
        yield connection
    finally:
        connection.close()


async def _together(database: Database, *operations: Any) -> list[Any]:
    """Hand operations over at once, so that they share a transaction; what each returned or raised."""
    return await asyncio.gather(*map(database.write, operations), return_exceptions=True)


async def _turns() -> None:
    """Let everything go as far as it can on the event loop."""
    for _ in range(20):
        await asyncio.sleep(0)


@contextmanager
def _stuck_disk(database: Database) -> Iterator[None]:
    """No commit ends inside the block."""
    gate = threading.Event()
    database._committer.submit(gate.wait, 10)
    try:
        yield
    finally:
        gate.set()


async def test_many_writers_share_a_transaction(database: Database, path: Path) -> None:
    visible = []

    async def look_from_outside(tx: Tx) -> None:
        with _outsider(path) as outside:
            visible.append(outside.execute("SELECT count(*) FROM specs").fetchone()[0])
        visible.append(len(await _names(tx)))

    names = [f"{n:03}" for n in range(60)]
    assert await _together(database, *map(_put, names), look_from_outside) == [*names, None]
    assert visible == [0, 60], "nothing is visible before the group's commit, everything to those in it"


async def test_more_than_a_group(database: Database) -> None:
    names = [f"{n:03}" for n in range(500)]
    assert await _together(database, *map(_put, names)) == names
    assert await database.read(_names) == names


async def test_what_waits_for_a_commit_is_done_after_it(database: Database) -> None:
    first = asyncio.create_task(database.write(_put("1")))
    with _stuck_disk(database):
        await asyncio.sleep(0)
        others = [asyncio.create_task(database.write(_put(name))) for name in ("2", "3")]
        await _turns()
        assert not any(task.done() for task in (first, *others))
    assert await asyncio.gather(first, *others) == ["1", "2", "3"]


async def test_a_write_that_has_returned_is_visible_to_everybody(database: Database, path: Path) -> None:
    for n in range(20):
        await database.write(_put(str(n)))
        with _outsider(path) as outside:
            assert outside.execute("SELECT count(*) FROM specs").fetchone()[0] == n + 1


async def test_an_operation_that_fails_leaves_no_trace_and_harms_no_other(database: Database, changes: Changes) -> None:
    async def fail(tx: Tx) -> None:
        await _put("half done")(tx)
        raise Conflict("no")

    async def break_a_constraint(tx: Tx) -> None:
        await _put("a")(tx)
        await _put("a")(tx)

    with changes.watch(everything()) as watch:
        results = await _together(database, _put("1"), fail, _put("2"), break_a_constraint, _put("3"))
        told = {change.action for change in await watch.next()}
    assert [results[0], results[2], results[4]] == ["1", "2", "3"]
    assert isinstance(results[1], Conflict)
    assert isinstance(results[3], sqlite3.IntegrityError)
    assert await database.read(_names) == ["1", "2", "3"]
    assert told == {"1", "2", "3"}


async def test_an_operation_may_wait_for_nothing_else(database: Database) -> None:
    async def wander(tx: Tx) -> None:
        await _put("half done")(tx)
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="waited for something"):
        await database.write(wander)
    assert await database.read(_names) == []
    assert await database.write(_put("next")) == "next"


async def test_the_write_of_a_caller_who_left_is_carried_out(database: Database, changes: Changes) -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))

    async def fail(tx: Tx) -> None:
        raise Conflict("nobody listens")

    with changes.watch(everything()) as watch:
        tasks = [asyncio.create_task(database.write(operation)) for operation in (_put("kept"), fail)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends)
        assert {change.action for change in await watch.next()} == {"kept"}
    assert await database.read(_names) == ["kept"]
    assert complaints == []


async def test_a_full_disk(database: Database, changes: Changes) -> None:
    """Nothing of the group is done, everybody in it is told so, and the next write is fine once there is room."""

    async def limit(tx: Tx, pages: int) -> None:
        await tx.one(f"PRAGMA max_page_count = {pages}")

    async def used(tx: Tx) -> int:
        row = await tx.one("PRAGMA page_count")
        assert row is not None
        return int(row[0])

    await database.write(_put("before"))
    room = await database.read(used) + 10
    await database.write(lambda tx: limit(tx, room))
    with changes.watch(everything()) as watch:
        results = await _together(database, _put("small"), _put("huge", 1_000_000), _put("late"))
        assert [type(r) for r in results] == [Unavailable] * 3
        assert "nothing was done" in str(results[0])
        assert await database.read(_names) == ["before"]
        await database.write(lambda tx: limit(tx, 1_000_000))
        assert await database.write(_put("after", 1_000_000)) == "after"
        assert {change.action for change in await watch.next()} == {"after"}
    assert await database.read(_names) == ["after", "before"]


async def test_a_commit_that_fails(database: Database) -> None:
    async def owe(tx: Tx) -> None:
        await tx.execute("PRAGMA defer_foreign_keys = ON")
        await tx.execute("INSERT INTO events VALUES (999, 1, 'a0', 1, 1, 1, 1, '{}')")

    results = await _together(database, _put("1"), owe, _put("2"))
    assert [type(r) for r in results] == [Unavailable] * 3
    assert await database.read(_names) == []
    assert await database.write(_put("next")) == "next"


async def test_a_scan_sees_one_moment(database: Database) -> None:
    looked, written = threading.Event(), threading.Event()

    async def look_twice(tx: Tx) -> tuple[list[str], list[str]]:
        first = await _names(tx)
        looked.set()
        written.wait(10)
        return first, await _names(tx)

    await database.write(_put("1"))
    scan = asyncio.create_task(database.scan(look_twice))
    await asyncio.to_thread(looked.wait, 10)
    await database.write(_put("2"))
    written.set()
    assert await scan == (["1"], ["1"])
    assert await database.scan(_names) == ["1", "2"]


async def test_a_read_sees_one_moment(database: Database, path: Path) -> None:
    async def look_twice(tx: Tx) -> tuple[list[str], list[str]]:
        first = await _names(tx)
        other = connect(path)
        other.execute("INSERT INTO specs VALUES (CAST('2' AS BLOB), x'')")
        other.close()
        return first, await _names(tx)

    await database.write(_put("1"))
    assert await database.read(look_twice) == (["1"], ["1"])
    assert await database.read(_names) == ["1", "2"]


async def test_readers_do_not_wait_for_the_writer(database: Database) -> None:
    await database.write(_put("1"))
    with _stuck_disk(database):
        writing = asyncio.create_task(database.write(_put("2")))
        await _turns()
        assert await database.read(_names) == ["1"]
        assert await database.scan(_names) == ["1"]
        assert not writing.done()
    await writing
    assert await database.read(_names) == ["1", "2"]


async def test_reads_cannot_write_and_go_on_after_an_error(database: Database) -> None:
    for look in (database.read, database.scan):
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            await look(_put("1"))
        assert await look(_names) == []


async def test_what_was_handed_over_is_done_before_the_end(tmp_path: Path) -> None:
    path = fresh(tmp_path / "other.db")
    async with Database(path, Changes()) as database:
        writes = [asyncio.create_task(database.write(_put(str(n)))) for n in range(100)]
        await asyncio.sleep(0)
    assert len(await asyncio.gather(*writes)) == 100


async def test_a_write_after_the_end_is_refused(tmp_path: Path) -> None:
    async with Database(fresh(tmp_path / "other.db"), Changes()) as database:
        pass
    async with asyncio.timeout(5):
        with pytest.raises(Unavailable):
            await database.write(_put("late"))


async def test_what_is_committed_survives_a_power_cut(database: Database) -> None:
    """As far as a test can see it: every commit waits for the disk."""

    async def waits(tx: Tx) -> int:
        row = await tx.one("PRAGMA synchronous")
        assert row is not None
        return int(row[0])

    assert await database.write(waits) == 2


async def test_foreign_keys_hold(database: Database) -> None:
    async def orphan(tx: Tx) -> None:
        await add_run(tx, "r")
        await tx.execute("UPDATE actions SET spec = x'00'")

    with pytest.raises(sqlite3.IntegrityError):
        await database.write(orphan)
