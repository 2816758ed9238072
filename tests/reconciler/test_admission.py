"""Limits of a run and of a queue: never more at once, and nobody waits for a place that is free."""

import asyncio
from dataclasses import replace

from flyteidl2.task import run_pb2

from alula.core.admission import Ask, Limit, Queue, Shape, ask
from alula.core.launch import Amounts
from alula.core.phase import Phase
from tests.core.builders import action

from .ground import Process, succeed
from .server import Server


def test_which_limits_an_action_counts_against() -> None:
    amounts = Amounts(cpu=1)
    assert ask(action(), amounts, {"": Queue(1)}) == Ask(Shape(amounts))
    assert ask(action(max_concurrency=3), amounts, {}) == Ask(Shape(amounts), 3)
    queued = action(queue="gpu")
    assert ask(queued, amounts, {"cpu": Queue(1)}) == Ask(Shape(amounts))
    everywhere = Limit("flytesnacks/development/gpu", 2)
    assert ask(queued, amounts, {"gpu": Queue(2)}) == Ask(Shape(amounts, (everywhere,)))
    here = {"gpu": Queue(9), "flytesnacks/development/gpu": Queue(2)}
    assert ask(queued, amounts, here) == Ask(Shape(amounts, (everywhere,)))
    elsewhere = {"gpu": Queue(9), "flytesnacks/staging/gpu": Queue(2)}
    assert ask(queued, amounts, elsewhere) == Ask(Shape(amounts, (Limit(everywhere.queue, 9),)))
    both = {"gpu": Queue(2, runs=1)}
    runs = Limit(everywhere.queue, 1, runs=True)
    assert ask(replace(queued, parent=None), amounts, both) == Ask(Shape(amounts, (everywhere, runs)))
    assert ask(replace(queued, parent="a0"), amounts, both) == Ask(Shape(amounts, (everywhere,)))


async def _most_at_once(server: Server, run_spec: run_pb2.RunSpec, wanted: int) -> int:
    """How many of a run's twelve children ran at once; they wait until as many as are wanted do."""
    running = most = 0
    enough = asyncio.Event()

    async def play(process: Process) -> None:
        nonlocal running, most
        process.run()
        if process.action == "a0":
            await process.call(*(f"x{n}" for n in range(12)))
        else:
            running += 1
            most = max(most, running)
            if running == wanted:
                enough.set()
            await enough.wait()
            for _ in range(20):
                await asyncio.sleep(0)
            running -= 1
        await succeed(process)

    server.ground.play = play
    await server.start(run_spec=run_spec.SerializeToString())
    async with server.at_work(capacity=8):
        assert (await server.end()).phase is Phase.SUCCEEDED
    return most


async def test_a_run_limits_its_own_actions(server: Server) -> None:
    assert await _most_at_once(server, run_pb2.RunSpec(max_action_concurrency=2), 2) == 2


async def test_a_run_with_one_place_and_parents_that_wait(server: Server) -> None:
    """A parent that waits gives its place away: a limit of one locks nothing up."""

    async def play(process: Process) -> None:
        process.run()
        if process.action == "a0":
            await process.call("x1", "x2")
        elif process.action == "x1":
            await process.call("x11")
        await succeed(process)

    server.ground.play = play
    await server.start(run_spec=run_pb2.RunSpec(max_action_concurrency=1).SerializeToString())
    async with server.at_work():
        assert (await server.end()).phase is Phase.SUCCEEDED
        assert await server.world.phases("x1", "x2", "x11") == [Phase.SUCCEEDED] * 3


async def test_a_queue_limits_what_is_in_it(server: Server) -> None:
    """Case O24."""
    server.queues = {"small": Queue(3)}
    assert await _most_at_once(server, run_pb2.RunSpec(queue="small"), 3) == 3
