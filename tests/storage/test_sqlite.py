"""What is SQLite's own: one transaction for many, the disk, and the file's locks."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from alula.core.errors import Unavailable
from alula.storage.changes import Changes, everything
from alula.storage.database import Tx
from alula.storage.sqlite import Sqlite, connect

from .builders import fresh
from .operations import names, put, together, told


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return fresh(tmp_path / "alula.db")


@pytest.fixture
async def database(path: Path, changes: Changes) -> AsyncIterator[Sqlite]:
    async with Sqlite(path, changes) as database:
        yield database


@contextmanager
def _outsider(path: Path) -> Iterator[sqlite3.Connection]:
    connection = connect(path, read_only=True)
    try:
        yield connection
    finally:
        connection.close()


async def _turns() -> None:
    """Let everything go as far as it can on the event loop."""
    for _ in range(20):
        await asyncio.sleep(0)


@contextmanager
def _stuck_disk(database: Sqlite) -> Iterator[None]:
    """No commit ends inside the block."""
    gate = threading.Event()
    database._committer.submit(gate.wait, 10)
    try:
        yield
    finally:
        gate.set()


async def test_many_writers_share_a_transaction(database: Sqlite, path: Path) -> None:
    visible = []

    async def look_from_outside(tx: Tx) -> None:
        with _outsider(path) as outside:
            visible.append(outside.execute("SELECT count(*) FROM specs").fetchone()[0])
        visible.append(len(await names(tx)))

    wanted = [f"{n:03}" for n in range(60)]
    assert await together(database, *map(put, wanted), look_from_outside) == [*wanted, None]
    assert visible == [0, 60], "nothing is visible before the group's commit, everything to those in it"


async def test_what_waits_for_a_commit_is_done_after_it(database: Sqlite) -> None:
    first = asyncio.create_task(database.write(put("1")))
    with _stuck_disk(database):
        await asyncio.sleep(0)
        others = [asyncio.create_task(database.write(put(name))) for name in ("2", "3")]
        await _turns()
        assert not any(task.done() for task in (first, *others))
    assert await asyncio.gather(first, *others) == ["1", "2", "3"]


async def test_an_operation_may_wait_for_nothing_else(database: Sqlite) -> None:
    async def wander(tx: Tx) -> None:
        await put("half done")(tx)
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="waited for something"):
        await database.write(wander)
    assert await database.read(names) == []
    assert await database.write(put("next")) == "next"


async def test_a_full_disk(database: Sqlite, changes: Changes) -> None:
    """Nothing of the group is done, everybody in it is told so, and the next write is fine once there is room."""

    async def limit(tx: Tx, pages: int) -> None:
        await tx.one(f"PRAGMA max_page_count = {pages}")

    async def used(tx: Tx) -> int:
        row = await tx.one("PRAGMA page_count")
        assert row is not None
        return int(row[0])

    await database.write(put("before"))
    room = await database.read(used) + 10
    await database.write(lambda tx: limit(tx, room))
    with changes.watch(everything()) as watch:
        results = await together(database, put("small"), put("huge", 1_000_000), put("late"))
        assert [type(r) for r in results] == [Unavailable] * 3
        assert "nothing was done" in str(results[0])
        assert await database.read(names) == ["before"]
        await database.write(lambda tx: limit(tx, 1_000_000))
        assert await database.write(put("after", 1_000_000)) == "after"
        assert await told(watch) == {"after"}
    assert await database.read(names) == ["after", "before"]


async def test_a_commit_that_fails(database: Sqlite) -> None:
    async def owe(tx: Tx) -> None:
        await tx.execute("PRAGMA defer_foreign_keys = ON")
        await tx.execute("INSERT INTO events VALUES (999, 1, 'a0', 1, 1, 1, 1, '{}')")

    results = await together(database, put("1"), owe, put("2"))
    assert [type(r) for r in results] == [Unavailable] * 3
    assert await database.read(names) == []
    assert await database.write(put("next")) == "next"


async def test_readers_do_not_wait_for_the_writer(database: Sqlite) -> None:
    await database.write(put("1"))
    with _stuck_disk(database):
        writing = asyncio.create_task(database.write(put("2")))
        await _turns()
        assert await database.read(names) == ["1"]
        assert await database.scan(names) == ["1"]
        assert not writing.done()
    await writing
    assert await database.read(names) == ["1", "2"]


async def test_what_is_committed_survives_a_power_cut(database: Sqlite) -> None:
    """As far as a test can see it: every commit waits for the disk."""

    async def waits(tx: Tx) -> int:
        row = await tx.one("PRAGMA synchronous")
        assert row is not None
        return int(row[0])

    assert await database.write(waits) == 2
