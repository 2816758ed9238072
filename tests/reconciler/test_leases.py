"""The leases of replicas on a real database: joined, shared, lost to a silence, and what is refused from then on."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from alula.control.attempts import Attempts
from alula.core.action import Event, Failure
from alula.core.decide import Retry
from alula.core.errors import Unavailable
from alula.core.ids import ROOT
from alula.core.lease import APPS, RUNS, SHARDS, Replica
from alula.core.phase import Phase
from alula.reconciler.lease import ALONE, Leases, singly
from alula.storage import leases as store
from alula.storage.address import Address
from tests.control.world import Wall, World, opened

TERM = 10.0


@dataclass
class Steady:
    """A clock that goes when it is told to."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def world(tmp_path: Path, address: Address) -> AsyncIterator[World]:
    async with opened(tmp_path, Wall(), address) as world:
        yield world


def replica(world: World, name: str, clock: Steady) -> Leases:
    return Leases(world.database, world.changes, Replica(name, 0, TERM, (RUNS, APPS)), clock)


def nothing() -> Iterable[int]:
    return ()


async def settled(*replicas: Leases) -> None:
    """Let replicas take turns until nobody has anything to do at once."""
    for _ in range(3):
        for one in replicas:
            while await one._turn(nothing):
                pass


async def silent(clock: Steady, alive: Leases) -> None:
    """A term passes in which only one replica gives a sign of life."""
    for _ in range(6):
        clock.now += TERM / 5
        while await alive._turn(nothing):
            pass


async def test_shares(world: World) -> None:
    clock = Steady()
    async with replica(world, "a", clock) as a:
        await settled(a)
        assert a.shards == frozenset(range(SHARDS))
        async with replica(world, "b", clock) as b:
            await settled(a, b)
            assert a.shards is not None
            assert b.shards is not None
            assert a.shards | b.shards == frozenset(range(SHARDS))
            assert (len(a.shards), len(b.shards)) == (SHARDS // 2, SHARDS // 2)
        await settled(a)
        assert a.shards == frozenset(range(SHARDS)), "who leaves gives everything up at once"


async def test_what_is_busy_stays(world: World) -> None:
    clock = Steady()
    busy = range(40)  # more than a fair share
    async with replica(world, "a", clock) as a:
        await settled(a)
        async with replica(world, "b", clock) as b:
            for _ in range(3):
                await a._turn(lambda: busy)
                await b._turn(nothing)
            assert a.shards == frozenset(busy)
            assert b.shards == frozenset(range(40, SHARDS))
            await settled(a, b)
            assert a.shards is not None
            assert len(a.shards) == SHARDS // 2, "as soon as it is idle"


async def test_who_was_silent_can_write_no_more(world: World) -> None:
    """The replica itself knows nothing of it yet: the fence alone stands in its way."""
    clock = Steady()
    root = await world.start("child")
    child = await world.get("child")
    async with AsyncExitStack() as stack:
        a = await stack.enter_async_context(replica(world, "a", clock))
        await settled(a)
        b = await stack.enter_async_context(replica(world, "b", clock))
        await silent(clock, b)
        assert a.has(root.run_key), "it has not looked since"
        assert b.has(root.run_key)
        attempts = Attempts(world.database, world.clock, world.secrets, a.fence)
        happened = Event("child", 1, Phase.RUNNING, 0, world.clock())
        for write in (
            attempts.starting(child),
            attempts.moved(child, happened),
            attempts.retry(child, [happened], Retry(Failure("E", "it broke"), world.clock())),
            attempts.settle(child, [Event("child", 1, Phase.FAILED, 0, world.clock())]),
        ):
            with pytest.raises(Unavailable, match="another replica"):
                await write
        assert (await world.get("child")).phase is Phase.QUEUED
        taken = await Attempts(world.database, world.clock, world.secrets, b.fence).starting(child)
        assert taken.phase is Phase.INITIALIZING
        await settled(a, b)
        assert a.shards is not None
        assert len(a.shards) == SHARDS // 2, "it has begun anew"
        assert len(await world.database.read(store.replicas)) == 2


async def test_a_replica_that_joins_late_waits_a_term_before_it_takes_over(world: World) -> None:
    clock = Steady()
    async with replica(world, "a", clock) as a:
        await settled(a)
        clock.now = 1e6
        async with replica(world, "b", clock) as b:
            await b._turn(nothing)
            assert b.shards == frozenset()
            assert len(await world.database.read(store.replicas)) == 2


async def test_alone_nothing_is_asked_of_the_database(world: World) -> None:
    await world.start()
    root = await world.get(ROOT)
    assert ALONE.shards is None
    assert ALONE.has(root.run_key)
    assert await world.attempts.starting(root) is root


@asynccontextmanager
async def at_work(work: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    task = asyncio.ensure_future(work())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_what_one_alone_does(world: World) -> None:
    """It is begun by who has the lease, ended when it is lost, and begun by the next."""
    clock = Steady()
    at: list[str] = []
    changed = asyncio.Condition()

    async def work(name: str) -> None:
        try:
            at.append(name)
            async with changed:
                changed.notify_all()
            await asyncio.Event().wait()
        finally:
            at.remove(name)
            async with changed:
                changed.notify_all()

    async with asyncio.timeout(10), AsyncExitStack() as stack:
        a = await stack.enter_async_context(replica(world, "a", clock))
        await settled(a)
        b = await stack.enter_async_context(replica(world, "b", clock))
        await stack.enter_async_context(at_work(lambda: singly(a, APPS, lambda: work("a"))))
        await stack.enter_async_context(at_work(lambda: singly(b, APPS, lambda: work("b"))))
        async with changed:
            await changed.wait_for(lambda: at == ["a"])
        await silent(clock, b)
        async with changed:
            await changed.wait_for(lambda: sorted(at) == ["a", "b"])
        await a._turn(nothing)
        async with changed:
            await changed.wait_for(lambda: at == ["b"])


async def test_the_loop_survives_a_database_that_is_away(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Steady()
    async with asyncio.timeout(10), replica(world, "a", clock) as a:
        real, failed = world.database.read, 0

        async def read(operation: object) -> object:
            nonlocal failed
            failed += 1
            if failed < 2:
                raise Unavailable("away")
            return await real(operation)  # type: ignore[arg-type]

        monkeypatch.setattr(world.database, "read", read)
        with a.watch() as changed:
            async with at_work(lambda: a.run(nothing)):
                await changed.wait()
        assert failed >= 2
        assert a.shards is not None
