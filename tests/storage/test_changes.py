"""Watches: what each topic is told, that nothing is lost after subscribing, and what a slow reader costs."""

import asyncio
import random

import pytest

from alula.core.action import Event
from alula.core.phase import Phase
from alula.storage import actions
from alula.storage.changes import (
    Change,
    Changes,
    Topic,
    everything,
    of_action,
    of_children,
    of_roots,
    of_run,
)
from alula.storage.database import Database, Tx

from .builders import NOW, add_action, add_run, new

_ROOT, _CHILD, _GRANDCHILD = (
    Change(1, "a0", "", Phase.QUEUED),
    Change(1, "x", "a0", Phase.QUEUED),
    Change(1, "y", "x", Phase.QUEUED),
)
_OTHER, _OTHER_CHILD = Change(2, "a0", "", Phase.QUEUED), Change(2, "x", "a0", Phase.QUEUED)
_ALL = [_ROOT, _CHILD, _GRANDCHILD, _OTHER, _OTHER_CHILD]


@pytest.mark.parametrize(
    ("topic", "told"),
    [
        (everything(), _ALL),
        (of_roots(), [_ROOT, _OTHER]),
        (of_run(1), [_ROOT, _CHILD, _GRANDCHILD]),
        (of_run(3), []),
        (of_action(1, "x"), [_CHILD]),
        (of_action(2, "a0"), [_OTHER]),
        (of_children(1, "a0"), [_CHILD]),
        (of_children(1, "x"), [_GRANDCHILD]),
        (of_children(1, "y"), []),
    ],
)
async def test_topics(changes: Changes, topic: Topic, told: list[Change]) -> None:
    with changes.watch(topic) as watch, changes.watch(topic) as second:
        changes.publish(_ALL)
        for each in (watch, second):
            if told:
                assert await each.next() == set(told)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(each.next(), 0.001)


async def test_a_watch_that_was_left_costs_nothing(changes: Changes) -> None:
    with changes.watch(of_run(1)) as kept:
        with changes.watch(of_run(1)) as left, changes.watch(of_run(2)):
            pass
        changes.publish([_ROOT])
        assert await kept.next() == {_ROOT}
        assert not left._pending
    assert not changes._watches


async def test_a_change_during_the_wait_wakes(changes: Changes) -> None:
    with changes.watch(everything()) as watch:
        waiting = asyncio.create_task(watch.next())
        await asyncio.sleep(0)
        assert not waiting.done()
        changes.publish([_CHILD])
        assert await waiting == {_CHILD}


async def test_a_slow_reader_costs_what_exists_not_what_happened(changes: Changes) -> None:
    with changes.watch(of_run(1)) as watch:
        for n in range(10_000):
            changes.publish([Change(1, f"c{n % 7}", "a0", Phase.QUEUED)])
        assert len(watch._pending) == 7
        assert len(await watch.next() or ()) == 7
        assert not watch._pending


async def test_a_signal_says_that_something_changed_and_keeps_nothing_of_it(changes: Changes) -> None:
    with changes.signal(of_run(1)) as signal:
        waiting = asyncio.create_task(signal.next())
        await asyncio.sleep(0)
        changes.publish([_OTHER])
        await asyncio.sleep(0)
        assert not waiting.done()
        for known in (True, False):
            if known:
                changes.publish([_ROOT, _CHILD])
            else:
                changes.lose()
            await waiting
            waiting = asyncio.create_task(signal.next())
            await asyncio.sleep(0)
            assert not waiting.done()
        waiting.cancel()


async def test_a_watch_that_lost_sight_is_told_so_once(changes: Changes) -> None:
    with changes.watch(of_run(1)) as watch, changes.watch(of_action(2, "x")) as other:
        changes.publish([_ROOT])
        changes.lose()
        assert await watch.next() is None
        assert await other.next() is None
        changes.publish([_CHILD])
        assert await watch.next() == {_CHILD}


async def test_a_reader_who_gave_up_waiting_loses_nothing(changes: Changes) -> None:
    with changes.watch(everything()) as watch:
        waiting = asyncio.create_task(watch.next())
        await asyncio.sleep(0)
        changes.publish([_CHILD])
        waiting.cancel()
        outcome = (await asyncio.gather(waiting, return_exceptions=True))[0]
        told = outcome if isinstance(outcome, set) else await watch.next()
        assert told == {_CHILD}


async def test_nothing_is_lost_between_subscribing_and_reading(database: Database, changes: Changes) -> None:
    """Readers come at any moment while a writer works; each ends with the rows as they are in the end."""
    chance = random.Random(7)
    count, names = 300, [f"c{n}" for n in range(12)]
    key = await database.write(lambda tx: add_run(tx, "r"))

    async def change(tx: Tx, name: str) -> None:
        found = await actions.get(tx, key, name)
        if found is None:
            await add_action(tx, key, new(name))
        else:
            event = Event(name, found.attempt, Phase.RUNNING, 0, NOW)
            await actions.advance(tx, found, found, [event], NOW)

    async def reader(delay: int) -> tuple[int, dict[str, int]]:
        for _ in range(delay):
            await asyncio.sleep(0)
        seen: dict[str, int] = {}
        seq = -1
        with changes.watch(of_children(key, "a0")) as changed:
            while True:
                after = seq
                batch = await database.read(lambda tx, after=after: actions.children_after(tx, key, "a0", after, 5))  # type: ignore[misc]
                seen |= {child.id.name: child.version for child in batch}
                seq = batch[-1].seq if batch else seq
                if seq == count + 1:
                    return seq, seen
                if not batch:
                    await changed.next()

    async def writer() -> None:
        for _ in range(count):
            name = chance.choice(names)
            await database.write(lambda tx, name=name: change(tx, name))  # type: ignore[misc]

    async with asyncio.timeout(30):
        readers = [asyncio.create_task(reader(chance.randrange(2000))) for _ in range(40)]
        await writer()
        found = await asyncio.gather(*readers)
    rows = await database.read(lambda tx: actions.children_after(tx, key, "a0", -1, 100))
    final = {child.id.name: child.version for child in rows}
    assert all(seen == (count + 1, final) for seen in found)
