"""Limits of a run and of a queue: never more at once, and nobody waits for a place that is free."""

import asyncio

from flyteidl2.task import run_pb2
from hypothesis import given
from hypothesis import strategies as st

from alula.core.admission import Limit, limits
from alula.core.phase import Phase
from alula.reconciler.slots import Slots
from tests.core.builders import action

from .ground import Process, succeed
from .server import Server


def test_which_limits_an_action_counts_against() -> None:
    assert limits(action(), {"": 1}) == ()
    assert limits(action(max_concurrency=3), {}) == (Limit("run flytesnacks/development/r1", 3),)
    queued = action(queue="gpu")
    assert limits(queued, {"cpu": 1}) == ()
    everywhere = (Limit("queue flytesnacks/development/gpu", 2),)
    assert limits(queued, {"gpu": 2}) == everywhere
    assert limits(queued, {"gpu": 9, "flytesnacks/development/gpu": 2}) == everywhere
    assert limits(queued, {"gpu": 9, "flytesnacks/staging/gpu": 2}) == (Limit(everywhere[0].name, 9),)


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.sampled_from("abc")), max_size=60))
def test_no_limit_is_passed_and_no_place_stays_empty(story: list[tuple[int, bool, str]]) -> None:
    slots, held, line = Slots(4), dict[int, str](), dict[int, str]()

    def take(number: int, name: str) -> None:
        if slots.take((1, str(number)), (Limit(name, 2),)):
            held[number] = name
            line.pop(number, None)
        elif number not in held:
            line[number] = name

    for number, asks, name in story:
        if asks:
            take(number, held.get(number) or line.get(number) or name)
        else:
            held.pop(number, None)
            line.pop(number, None)
            for key in slots.free((1, str(number))):
                take(int(key[1]), line[int(key[1])])
        names = list(held.values())
        assert len(held) <= 4
        assert all(names.count(one) <= 2 for one in names)
        if len(held) < 4:
            assert all(names.count(waiting) == 2 for waiting in line.values())


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
    server.queues = {"small": 3}
    assert await _most_at_once(server, run_pb2.RunSpec(queue="small"), 3) == 3
