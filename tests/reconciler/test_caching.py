"""Cached results: what is there is taken, and of many who ask for the same at once one works."""

import asyncio
from typing import Any

import pytest

from alula.core.action import Action, CacheStatus, Policy
from alula.core.cache import CacheKey, Offer
from alula.core.phase import Phase
from alula.storage import cache
from tests.control.world import BASE, child

from .ground import Process, succeed
from .server import Server

ONE = Policy(serialize=True)
KEY = CacheKey("p", "development", "k")


async def ask(server: Server, *names: str, parent: str = "a0", **changes: Any) -> None:
    run = server.world.id(parent)
    for name in names:
        new = child(name, parent, **{"cache_key": "k", "output_uri": f"{BASE}/{name}/1", **changes})
        await server.world.actions.enqueue(run.run, new)


@pytest.fixture
async def gate(server: Server) -> asyncio.Event:
    """The root runs until it is opened; everything else succeeds at once."""
    opened = asyncio.Event()

    async def play(process: Process) -> None:
        if process.action == "a0":
            process.run()
            await opened.wait()
        await succeed(process)

    server.ground.play = play
    await server.start()
    return opened


async def ran(server: Server, name: str) -> int:
    return sum(launch.env["ACTION_NAME"] == name for launch in server.ground.launches)


async def test_the_second_takes_what_the_first_made(server: Server, gate: asyncio.Event) -> None:
    async with server.at_work():
        await ask(server, "x")
        first = await server.end("x")
        await ask(server, "y")
        second = await server.end("y")
        gate.set()
    assert (first.phase, first.cache_status) == (Phase.SUCCEEDED, CacheStatus.POPULATED)
    assert (second.phase, second.cache_status) == (Phase.SUCCEEDED, CacheStatus.HIT)
    assert second.output_uri == first.output_uri
    assert await ran(server, "y") == 0
    (attempt,) = await server.story("y")
    assert (attempt.cache_status, attempt.cache_source) == (CacheStatus.HIT, f"{first.id}/1")
    assert attempt.output_uri == f"{first.output_uri}/outputs.pb"
    (attempt,) = await server.story("x")
    assert attempt.cache_status is CacheStatus.POPULATED


async def test_a_result_whose_outputs_are_gone_is_a_miss(server: Server, gate: asyncio.Event) -> None:
    """Case C33: a missing blob is a miss; and what runs then is kept instead."""
    async with server.at_work():
        await ask(server, "x")
        first = await server.end("x")
        await server.world.blobs.delete(f"{first.output_uri}/outputs.pb")
        await ask(server, "y")
        second = await server.end("y")
        gate.set()
    assert await ran(server, "y") == 1
    assert second.output_uri != first.output_uri


async def test_another_place_has_another_cache(server: Server, gate: asyncio.Event) -> None:
    """Case C33: project "a-b" in domain "c" is not project "a" in domain "b-c"."""
    now = server.world.clock()
    for place in (("p-development", "x"), ("p", "staging")):
        elsewhere = CacheKey(*place, "k")
        await server.world.database.write(lambda tx, key=elsewhere: cache.put(tx, key, Offer(uri=f"{BASE}/e"), now))  # type: ignore[misc]
    await server.world.blobs.put(f"{BASE}/e/outputs.pb", b"")
    async with server.at_work():
        await ask(server, "x")
        assert (await server.end("x")).cache_status is CacheStatus.POPULATED
        gate.set()
    assert await ran(server, "x") == 1


async def test_a_run_may_take_results_of_everywhere(server: Server) -> None:
    elsewhere = CacheKey("q", "staging", "k")
    now = server.world.clock()
    await server.world.database.write(lambda tx: cache.put(tx, elsewhere, Offer(uri=f"{BASE}/e"), now))
    await server.world.blobs.put(f"{BASE}/e/outputs.pb", b"")
    gate = asyncio.Event()

    async def play(process: Process) -> None:
        process.run()
        await gate.wait()
        await succeed(process)

    server.ground.play = play
    await server.start(cache_everywhere=True)
    async with server.at_work():
        await ask(server, "x")
        assert (await server.end("x")).cache_status is CacheStatus.HIT
        gate.set()


async def test_a_run_may_want_everything_anew(server: Server) -> None:
    """Case C33: overwrite_cache."""
    gate = asyncio.Event()

    async def play(process: Process) -> None:
        process.run()
        if process.action == "a0":
            await gate.wait()
        await succeed(process)

    server.ground.play = play
    await server.start(overwrite_cache=True)
    now = server.world.clock()
    await server.world.database.write(lambda tx: cache.put(tx, KEY, Offer(uri=f"{BASE}/old"), now))
    await server.world.blobs.put(f"{BASE}/old/outputs.pb", b"")
    async with server.at_work():
        await ask(server, "x")
        ended = await server.end("x")
        gate.set()
    assert await ran(server, "x") == 1
    assert [a.cache_status for a in await server.story("x")] == [CacheStatus.POPULATED]
    kept = await server.world.database.read(lambda tx: cache.find(tx, KEY))
    assert kept is not None
    assert kept.uri == ended.output_uri


async def test_a_result_that_is_too_old_is_none(server: Server, gate: asyncio.Event) -> None:
    async with server.at_work():
        await ask(server, "x", policy=Policy(max_age=0.01))
        await server.end("x")
        await asyncio.sleep(0.02)  # the age is the subject
        await ask(server, "y", policy=Policy(max_age=0.01))
        assert (await server.end("y")).cache_status is CacheStatus.POPULATED
        gate.set()
    assert await ran(server, "y") == 1


async def test_of_many_who_ask_at_once_one_works(server: Server) -> None:
    """Case C33: serializable. The others wait, and take its result."""
    gate, done = asyncio.Event(), asyncio.Event()

    async def play(process: Process) -> None:
        process.run()
        await (done if process.action == "a0" else gate).wait()
        await succeed(process)

    server.ground.play = play
    await server.start()
    names = [f"x{n}" for n in range(20)]
    async with server.at_work():
        await ask(server, *names, policy=ONE)
        for name in names[1:]:
            waiting = await server.reached(Phase.WAITING_FOR_RESOURCES, name)
            assert waiting.cache_status is CacheStatus.DISABLED
        gate.set()
        ends = await asyncio.gather(*(server.end(name) for name in names))
        done.set()
    assert {e.phase for e in ends} == {Phase.SUCCEEDED}
    assert [e.cache_status for e in ends].count(CacheStatus.HIT) == 19
    assert len({e.output_uri for e in ends}) == 1
    assert sum([await ran(server, name) for name in names]) == 1
    notes = [note.text for attempt in await server.story("x7") for note in attempt.notes]
    assert any("works out the same result" in note for note in notes)


@pytest.mark.parametrize("how", ["fails", "is aborted"])
async def test_when_the_one_who_works_dies_another_takes_over(server: Server, how: str) -> None:
    """Case C33: owner crash."""
    gate, done = asyncio.Event(), asyncio.Event()

    async def play(process: Process) -> None:
        process.run()
        if process.action == "a0":
            await done.wait()
        elif process.action == "x":
            await gate.wait()
            process.exit(1)
            return
        await succeed(process)

    server.ground.play = play
    await server.start()
    async with server.at_work():
        await ask(server, "x", policy=ONE)
        await server.reached(Phase.RUNNING, "x")
        await ask(server, "y", "z", policy=ONE)
        await server.reached(Phase.WAITING_FOR_RESOURCES, "y")
        await server.reached(Phase.WAITING_FOR_RESOURCES, "z")
        if how == "fails":
            gate.set()
        else:
            await server.world.actions.abort(server.world.id("x"), "no")
        ends = [await server.end(name) for name in ("y", "z")]
        done.set()
    assert sorted(e.cache_status for e in ends) == [CacheStatus.HIT, CacheStatus.POPULATED]
    assert await ran(server, "y") + await ran(server, "z") == 1


async def test_a_failure_is_not_kept(server: Server) -> None:
    async def play(process: Process) -> None:
        process.run()
        if process.action == "a0":
            await process.call("x", cache_key="k")
            await succeed(process)
        else:
            process.exit(1)

    server.ground.play = play
    await server.start()
    async with server.at_work():
        assert (await server.end("a0")).phase is Phase.SUCCEEDED
    failed: Action = await server.world.get("x")
    assert (failed.phase, failed.cache_status) == (Phase.FAILED, CacheStatus.MISS)
    assert await server.world.database.read(lambda tx: cache.find(tx, KEY)) is None
