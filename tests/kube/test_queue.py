"""The queue, with a clock that tests set."""

import asyncio
import random
from collections.abc import Callable

import pytest

from alula.kube.queue import LONGEST, SHORTEST, Queue


class Time:
    """Seconds, as they are told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def queue(time: Time | None = None, dice: Callable[[], float] = lambda: 1.0) -> Queue[str]:
    return Queue(time or Time(), dice)


async def taken(of: Queue[str]) -> list[str]:
    """All that can be taken now, each done at once."""
    found = []
    while len(of):
        key = await of.take()
        of.done(key)
        found.append(key)
    return found


async def test_a_key_is_there_once_in_the_order_of_its_first_adding() -> None:
    keys = queue()
    for key in "abacb":
        keys.add(key)
    assert len(keys) == 3
    assert await taken(keys) == ["a", "b", "c"]


async def test_a_key_that_is_worked_on_is_worked_on_once_more_afterwards() -> None:
    keys = queue()
    keys.add("a")
    assert await keys.take() == "a"
    keys.add("a")
    keys.add("a")
    keys.add("b")
    assert await keys.take() == "b"  # nobody else gets "a" meanwhile
    assert (keys.working, len(keys)) == (2, 1)
    keys.done("b")
    keys.done("a")
    assert await taken(keys) == ["a"]
    assert (keys.working, len(keys)) == (0, 0)


async def test_of_several_times_the_earliest_holds() -> None:
    time = Time()
    keys = queue(time)
    keys.later("a", 10)
    keys.later("a", 5)
    keys.later("a", 20)
    keys.later("b", 7)
    for now, expected in [(4.9, []), (5.0, ["a"]), (6.9, []), (30.0, ["b"])]:
        time.now = now
        keys.ring()
        assert await taken(keys) == expected
    assert keys.waiting == 0


async def test_adding_outdoes_a_later_time() -> None:
    time = Time()
    keys = queue(time)
    keys.later("a", 5)
    keys.add("a")
    keys.later("a", 3)  # it is to be worked on before that anyway
    assert await taken(keys) == ["a"]
    time.now = 10
    keys.ring()
    assert await taken(keys) == []


async def test_what_is_due_while_it_is_worked_on_comes_afterwards() -> None:
    time = Time()
    keys = queue(time)
    keys.add("a")
    await keys.take()
    keys.later("a", 1)
    time.now = 2
    keys.ring()
    assert (keys.working, len(keys)) == (1, 1)
    keys.done("a")
    assert await taken(keys) == ["a"]


@pytest.mark.parametrize(("dice", "part"), [(0.0, 0.5), (1.0, 1.0)])
async def test_failures_of_a_key_are_tried_again_ever_later(dice: float, part: float) -> None:
    keys = queue(dice=lambda: dice)
    pauses = []
    for _ in range(30):
        pauses.append(keys.fail("a"))
        keys.add("a")
        await taken(keys)
    assert pauses[:3] == [SHORTEST * part, SHORTEST * 2 * part, SHORTEST * 4 * part]
    assert pauses[-1] == LONGEST * part
    assert keys.fail("b") == SHORTEST * part  # each key has its own
    assert keys.fail("b", 5.0) == 5.0 * (0.5 + part)  # what the cluster asks for, and not all at the same time
    assert keys.fail("b", 3600.0) == LONGEST * (0.5 + part)
    keys.succeed("b")
    assert keys.fail("b") == SHORTEST * part
    keys.succeed("a")
    assert keys.fail("a") == SHORTEST * part


async def test_the_timer_of_the_loop_rings() -> None:
    keys: Queue[str] = Queue(asyncio.get_running_loop().time, lambda: 1.0)
    keys.later("b", 0.02)
    keys.later("a", 0.01)
    async with asyncio.timeout(10):
        assert [await keys.take(), await keys.take()] == ["a", "b"]


async def test_a_taker_that_is_cancelled_takes_nothing_along() -> None:
    keys = queue()
    waiting = asyncio.create_task(keys.take())
    await asyncio.sleep(0)
    keys.add("a")
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    assert await taken(keys) == ["a"]


async def test_many_workers_never_have_one_key_and_miss_no_change() -> None:
    """Writers count up and add; workers note what they read. In the end the last value of each key was read."""
    keys, dice = queue(), random.Random(3)
    value, read, busy = dict.fromkeys("abcdef", 0), dict.fromkeys("abcdef", 0), set()

    async def work() -> None:
        while True:
            key = await keys.take()
            assert key not in busy
            busy.add(key)
            read[key] = value[key]
            for _ in range(dice.randrange(4)):
                await asyncio.sleep(0)
            busy.discard(key)
            keys.done(key)

    workers = [asyncio.create_task(work()) for _ in range(5)]
    for _ in range(2000):
        key = dice.choice("abcdef")
        value[key] += 1
        keys.add(key)
        if dice.random() < 0.3:
            await asyncio.sleep(0)
    while len(keys) or keys.working:
        await asyncio.sleep(0)
    assert read == value
    assert not any(worker.done() for worker in workers)
    for worker in workers:
        worker.cancel()
