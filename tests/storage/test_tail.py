"""What one server changes, the others are told: once, at once, and also when connections die or commits are late."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

import asyncpg
import pytest

from alula.core.phase import Phase
from alula.storage import tail as module
from alula.storage.address import PostgresServer
from alula.storage.changes import Change, Changes, Watch, everything
from alula.storage.database import Database
from tests.postgres import Cluster

from .operations import put

_HERE = "SELECT pg_current_xact_id()"


class Pair(NamedTuple):
    """Two servers on one database."""

    one: Database
    other: Database
    changes: Changes  # of the one
    others: Changes


@pytest.fixture
def server(postgres: Cluster) -> Iterator[PostgresServer]:
    server = postgres.fresh()
    yield server
    postgres.drop(server)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK", 0.2)


@pytest.fixture
async def pair(server: PostgresServer) -> AsyncIterator[Pair]:
    changes, others = Changes(), Changes()
    async with server.database(changes) as one, server.database(others) as other:
        yield Pair(one, other, changes, others)


@pytest.fixture
async def stranger(server: PostgresServer) -> AsyncIterator[asyncpg.Connection]:
    """A connection of somebody else."""
    connection = await asyncpg.connect(server.dsn)
    yield connection
    await connection.close()


async def _wait_for(watch: Watch, *names: str) -> set[str]:
    """Wait until a watch was told of these; of what it was told."""
    heard: set[str] = set()
    async with asyncio.timeout(10):
        while not heard >= set(names):
            heard |= {change.action for change in await watch.next() or ()}
    return heard


async def _quiet(watch: Watch) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(watch.next(), 1.5 * module._LOOK)


async def test_others_are_told_and_nobody_twice(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    with pair.changes.watch(everything()) as mine, pair.others.watch(everything()) as others:
        await pair.one.write(put("x"))
        for watch in (mine, others):
            assert await watch.next() == {Change(1, "x", "", Phase.QUEUED)}
        for watch in (mine, others):
            await _quiet(watch)


async def test_a_notification_is_quick(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK", 3600.0)
    with pair.others.watch(everything()) as watch:
        await pair.one.write(put("first"))  # whoever waits the old time looks once more
        await _wait_for(watch, "first")
        for n in range(20):
            await pair.one.write(put(f"{n}"))
            assert await _wait_for(watch, f"{n}") == {f"{n}"}


async def test_what_nobody_notifies_of_is_found_within_a_second(pair: Pair, stranger: asyncpg.Connection) -> None:
    """Case C9: the delay is bounded."""
    with pair.others.watch(everything()) as watch:
        for n in range(3):
            told = json.dumps([[1, f"{n}", "", 1]])
            await stranger.execute("INSERT INTO changes (origin, told) VALUES ('stranger', $1)", told)
            async with asyncio.timeout(module._LOOK * 1.5):
                await _wait_for(watch, f"{n}")


async def test_what_commits_late_is_not_missed(pair: Pair, stranger: asyncpg.Connection) -> None:
    """Its transaction began before others that are long seen and done; nor does it hold those up."""
    with pair.others.watch(everything()) as watch:
        late = stranger.transaction()
        await late.start()
        told = json.dumps([[1, "late", "", 1]])
        await stranger.execute("INSERT INTO changes (origin, told) VALUES ('stranger', $1)", told)
        for n in range(5):
            await pair.one.write(put(f"{n}"))
            assert await _wait_for(watch, f"{n}") == {f"{n}"}
        await _quiet(watch)
        await late.commit()
        assert await _wait_for(watch, "late") == {"late"}
        await _quiet(watch)


async def test_what_is_rolled_back_is_not_told(pair: Pair, stranger: asyncpg.Connection) -> None:
    with pair.others.watch(everything()) as watch:
        dropped = stranger.transaction()
        await dropped.start()
        await stranger.execute("INSERT INTO changes (origin, told) VALUES ('stranger', '[[1, \"no\", \"\", 1]]')")
        await dropped.rollback()
        await pair.one.write(put("yes"))
        assert await _wait_for(watch, "yes") == {"yes"}


async def test_a_killed_listener_looks_at_everything_again(pair: Pair, stranger: asyncpg.Connection) -> None:
    """Case C9."""
    for n in range(3):
        with pair.others.watch(everything()) as watch:
            killed = await stranger.fetch(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND query LIKE '%pg_current_snapshot()%' "
                "AND pid <> pg_backend_pid()"
            )
            assert killed
            await pair.one.write(put(f"{n}"))
            async with asyncio.timeout(module._LOOK * 2):
                while await watch.next() is not None:
                    pass
            await pair.one.write(put(f"{n} later"))
            await _wait_for(watch, f"{n} later")


async def test_who_was_away_for_long_looks_at_everything_again(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    with pair.others.watch(everything()) as watch:
        monkeypatch.setattr(module, "_AWAY", 0.0)
        await pair.one.write(put("x"))
        assert await asyncio.wait_for(watch.next(), 5) is None


async def test_old_rows_go_in_small_steps(
    pair: Pair, stranger: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look deletes some of what is old; those who look in time miss none."""
    with pair.others.watch(everything()) as watch:
        for n in range(50):
            await pair.one.write(put(f"{n}"))
        monkeypatch.setattr(module, "_KEPT", 0.0)
        monkeypatch.setattr(module, "_STEP", 3)
        monkeypatch.setattr(module, "_LOOK", 0.01)
        await _wait_for(watch, *map(str, range(50)))
        async with asyncio.timeout(20):
            left = 50
            while left:
                now = await stranger.fetchval("SELECT count(*) FROM changes")
                assert now <= left
                left = now


async def test_rows_that_others_have_not_had_time_for_stay(pair: Pair, stranger: asyncpg.Connection) -> None:
    for n in range(3):
        await pair.one.write(put(f"{n}"))
        await asyncio.sleep(module._LOOK)
    assert await stranger.fetchval("SELECT count(*) FROM changes") == 3


async def test_no_update_is_lost_while_listeners_die(pair: Pair, stranger: asyncpg.Connection) -> None:
    """Case C9, case C8: a reader on one server follows a writer on another: look, wait until told, look again."""
    count = 120

    async def follow() -> None:
        with pair.others.watch(everything()) as watch:
            while True:
                row = await pair.other.read(lambda tx: tx.one("SELECT count(*) AS n FROM specs"))
                assert row is not None
                if row["n"] == count:
                    return
                await watch.next()

    async def write() -> None:
        for n in range(count):
            await pair.one.write(put(f"{n}"))
            if n % 20 == 10:
                await stranger.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )

    async with asyncio.timeout(30):
        await asyncio.gather(*(follow() for _ in range(20)), write())
