"""The outbox: news are written once, and each try of a delivery belongs to one sender."""

from datetime import timedelta

from alula.core.notice import Channel, News, State
from alula.core.phase import Phase
from alula.storage import outbox
from alula.storage.database import Tx

from .builders import NOW, Stage, add_run, after

LEASE = after(120)


async def _run(tx: Tx, name: str = "r", *, notify: bool = True) -> int:
    run = await add_run(tx, name)
    await tx.execute("UPDATE runs SET notify = :notify WHERE key = :run", {"notify": int(notify), "run": run})
    return run


def _news(run: int, phase: Phase = Phase.FAILED, attempt: int = 0) -> News:
    return News(run, "a0", attempt, phase, "boom")


async def _opened(tx: Tx, *channels: Channel) -> int:
    run = await _run(tx)
    await outbox.due(tx, _news(run), NOW)
    (notice,) = await outbox.unopened(tx, 10)
    assert await outbox.open_up(tx, notice.key, channels or (Channel("rules[0].webhook"),), NOW)
    return run


def test_news_are_written_once(stage: Stage) -> None:
    async def work(tx: Tx) -> None:
        run = await _run(tx)
        for _ in range(3):
            await outbox.due(tx, _news(run), NOW)
        await outbox.due(tx, _news(run, Phase.PAUSED, 1), NOW)
        await outbox.due(tx, _news(run, Phase.PAUSED, 2), NOW)
        await outbox.due(tx, None, NOW)
        assert [n.news for n in await outbox.unopened(tx, 10)] == [
            _news(run),
            _news(run, Phase.PAUSED, 1),
            _news(run, Phase.PAUSED, 2),
        ]

    stage.run(work(stage.tx))


def test_a_run_without_rules_has_no_news_but_its_conditions(stage: Stage) -> None:
    async def work(tx: Tx) -> None:
        run = await _run(tx, notify=False)
        await outbox.due(tx, _news(run), NOW)
        assert await outbox.unopened(tx, 10) == []
        await outbox.due(tx, _news(run, Phase.PAUSED, 1), NOW)
        assert len(await outbox.unopened(tx, 10)) == 1

    stage.run(work(stage.tx))


def test_receivers_are_written_once(stage: Stage) -> None:
    async def work(tx: Tx) -> None:
        run = await _opened(tx, Channel("rules[0].webhook"), Channel("rules[1]", "no such config"))
        assert await outbox.unopened(tx, 10) == []
        (key,) = {d.notice.key for d in await outbox.of_run(tx, run)}
        assert not await outbox.open_up(tx, key, (Channel("rules[9]"),), NOW)
        assert [(d.channel, d.state, d.error) for d in await outbox.of_run(tx, run)] == [
            ("rules[0].webhook", State.WAITING, ""),
            ("rules[1]", State.FAILED, "no such config"),
        ]

    stage.run(work(stage.tx))


def test_a_claim_is_one_senders_and_ends_its_waiting(stage: Stage) -> None:
    async def work(tx: Tx) -> None:
        await _opened(tx, *(Channel(f"rules[{n}].webhook") for n in range(3)))
        assert await outbox.claim(tx, NOW - timedelta(seconds=1), LEASE, 10) == []
        first = await outbox.claim(tx, NOW, LEASE, 2)
        rest = await outbox.claim(tx, NOW, LEASE, 10)
        assert (len(first), len(rest), await outbox.claim(tx, NOW, LEASE, 10)) == (2, 1, [])
        assert {d.tries for d in first + rest} == {1}
        assert await outbox.next_due(tx) == LEASE

    stage.run(work(stage.tx))


def test_a_try_that_failed_waits_and_is_tried_again(stage: Stage) -> None:
    async def work(tx: Tx) -> None:
        run = await _opened(tx)
        (delivery,) = await outbox.claim(tx, NOW, LEASE, 1)
        assert await outbox.settle(tx, delivery, State.WAITING, "it answered 503", after(9), NOW)
        assert await outbox.next_due(tx) == after(9)
        assert await outbox.claim(tx, after(8), LEASE, 1) == []
        (again,) = await outbox.claim(tx, after(9), LEASE, 1)
        assert (again.tries, again.error) == (2, "it answered 503")
        assert not await outbox.settle(tx, delivery, State.SENT, "", NOW, NOW), "the first try is over"
        assert await outbox.settle(tx, again, State.SENT, "", NOW, NOW)
        assert not await outbox.settle(tx, again, State.WAITING, "", NOW, NOW), "what was sent stays sent"
        assert [d.state for d in await outbox.of_run(tx, run)] == [State.SENT]
        assert await outbox.next_due(tx) is None

    stage.run(work(stage.tx))


def test_what_a_dead_sender_left_is_found_and_the_living_know_better(stage: Stage) -> None:
    async def work(tx: Tx) -> None:
        run = await _opened(tx)
        (delivery,) = await outbox.claim(tx, NOW, LEASE, 1)
        assert await outbox.abandoned(tx, LEASE - timedelta(seconds=1)) == []
        (left,) = await outbox.abandoned(tx, LEASE)
        assert await outbox.settle(tx, left, State.UNKNOWN, "gone", NOW, NOW)
        assert await outbox.claim(tx, after(10_000), LEASE, 1) == [], "it is never sent again"
        assert await outbox.settle(tx, delivery, State.SENT, "", NOW, NOW), "it was only slow"
        assert [d.state for d in await outbox.of_run(tx, run)] == [State.SENT]

    stage.run(work(stage.tx))
