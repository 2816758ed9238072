"""Notifications: who is told of what, and how that went.

A delivery is marked as being sent before it is sent. What a crash leaves so marked may have arrived or not: it is
given up as unknown and never sent again. So nobody is told twice; somebody may, after a crash, not be told.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from alula.base.clock import Clock
from alula.core import notice as core
from alula.core.action import Event, Note
from alula.core.errors import Invalid
from alula.core.ids import ActionId
from alula.core.message import Message, ended_data, letter, paused_data, request
from alula.core.notice import Book, Channel, Outcome, State
from alula.core.phase import Phase
from alula.core.run import Run
from alula.storage import actions, outbox, runs, specs
from alula.storage.database import Database, Tx
from alula.storage.outbox import Delivery, Notice
from alula.wire import notices as wire

LEASE = timedelta(minutes=2)  # by then a sender has said what became of it, or is dead
_SOME = 50  # news opened at a time


@dataclass(frozen=True, slots=True)
class Parcel:
    """A delivery that is this caller's to send, now."""

    delivery: Delivery
    message: Message


class _Origin(NamedTuple):
    """Where news come from. ``question`` is the serialised ConditionAction, empty for the end of a run."""

    run: Run
    question: bytes


class Notices:
    """The verbs of notifications. ``link`` makes the URL that answers a condition; ``chance`` is in [0, 1)."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        book: Book,
        link: Callable[[ActionId], str],
        chance: Callable[[], float],
    ) -> None:
        self._database = database
        self._clock = clock
        self._book = book
        self._link = link
        self._chance = chance

    async def open(self) -> bool:
        """Find out who is to be told of what happened since; whether there may be more."""

        async def read(tx: Tx) -> list[tuple[Notice, _Origin]]:
            return [(notice, await _origin(tx, notice)) for notice in await outbox.unopened(tx, _SOME)]

        opened = [(notice, self._channels(notice, origin)) for notice, origin in await self._database.read(read)]

        async def write(tx: Tx) -> None:
            now = self._clock()
            for notice, channels in opened:
                if await outbox.open_up(tx, notice.key, channels, now):
                    for channel in channels:
                        if channel.problem:
                            await _tell(tx, notice, channel.name, channel.problem, now)

        if opened:
            await self._database.write(write)
        return len(opened) == _SOME

    async def claim(self, limit: int) -> list[Parcel]:
        """Take deliveries that are due, to send them at once. What cannot even be written is given up here."""

        async def write(tx: Tx) -> list[tuple[Delivery, _Origin]]:
            now = self._clock()
            claimed = await outbox.claim(tx, now, now + LEASE, limit)
            return [(delivery, await _origin(tx, delivery.notice)) for delivery in claimed]

        parcels = []
        for delivery, origin in await self._database.write(write):
            try:
                parcels.append(Parcel(delivery, self._message(delivery, origin)))
            except Invalid as error:
                await self._settle(delivery, State.FAILED, str(error))
        return parcels

    async def record(self, delivery: Delivery, outcome: Outcome) -> None:
        """Write down what became of a delivery. What is given up is told in the notes of its action, too."""
        match outcome:
            case core.Delivered():
                await self._settle(delivery, State.SENT, "")
            case core.Refused(reason):
                await self._settle(delivery, State.FAILED, reason)
            case core.Doubtful(reason):
                await self._settle(delivery, State.UNKNOWN, reason)
            case core.Postponed(reason, wait):
                since = delivery.notice.created_at
                at = core.next_try(delivery.tries, since, self._clock(), wait, self._chance())
                if at is None:
                    await self._settle(delivery, State.FAILED, f"{reason}; given up after {delivery.tries} tries")
                else:
                    await self._settle(delivery, State.WAITING, reason, at)

    async def abandon(self) -> None:
        """Give up what somebody began to send and died over: nobody knows whether it was delivered."""
        now = self._clock()
        for delivery in await self._database.read(lambda tx: outbox.abandoned(tx, now)):
            await self._settle(delivery, State.UNKNOWN, "the server ended while it was being sent")

    async def next_due(self) -> datetime | None:
        """When there is something to do, as far as is known."""
        return await self._database.read(outbox.next_due)

    def _channels(self, notice: Notice, origin: _Origin) -> list[Channel]:
        own = [Channel(core.CONDITION)] if origin.question and wire.has_webhook(origin.question) else []
        try:
            return own + core.channels(wire.rules(origin.run.spec), notice.news.phase, self._book)
        except Invalid as error:
            return [*own, Channel("rules", str(error))]

    def _message(self, delivery: Delivery, origin: _Origin) -> Message:
        news, run = delivery.notice.news, origin.run
        action = ActionId(run.id, news.action)
        key = _key(action, delivery)
        if delivery.channel == core.CONDITION:
            return wire.webhook(origin.question, self._link(action), key)
        if news.phase is Phase.PAUSED:
            data = paused_data(action, run.org, wire.question(origin.question))
        else:
            data = ended_data(run.id, run.org, news.phase, news.error)
        found = core.templates(wire.rules(run.spec), delivery.channel, self._book)
        _, _, recipient = delivery.channel.partition(".email:")
        if found is not None and found.hook is not None and not recipient:
            return request(found.hook, data, key)
        if found is not None and found.mail is not None and (texts := core.content(found.mail, self._book)) is not None:
            return letter(found.mail, texts, data, recipient, key)
        raise Invalid("the server's settings, where this notification comes from, have changed since")

    async def _settle(self, delivery: Delivery, state: State, error: str, at: datetime | None = None) -> None:
        async def write(tx: Tx) -> None:
            now = self._clock()
            settled = await outbox.settle(tx, delivery, state, error, at or now, now)
            if settled and state in (State.FAILED, State.UNKNOWN):
                await _tell(tx, delivery.notice, delivery.channel, error, now, sure=state is State.FAILED)

        await self._database.write(write)


async def _origin(tx: Tx, notice: Notice) -> _Origin:
    run = await runs.get(tx, notice.news.run)
    assert run is not None, "news are of a run that exists"
    if notice.news.phase is not Phase.PAUSED:
        return _Origin(run, b"")
    action = await actions.get(tx, notice.news.run, notice.news.action)
    assert action is not None, "news are of an action that exists"
    return _Origin(run, await specs.get(tx, action.spec))


async def _tell(tx: Tx, notice: Notice, channel: str, error: str, now: datetime, *, sure: bool = True) -> None:
    """Add a note to the action that the news were about: who looks at it sees why nobody was told."""
    action = await actions.get(tx, notice.news.run, notice.news.action)
    assert action is not None, "news are of an action that exists"
    how = "was not sent" if sure else "may not have been sent"
    note = Note(now, f"notification {channel} of {notice.news.phase.name} {how}: {error}")
    await actions.append(tx, action, Event(action.id.name, action.attempt, action.phase, 0, now, notes=(note,)), now)


def _key(action: ActionId, delivery: Delivery) -> str:
    """The same for every try of a delivery, and for no other."""
    news = delivery.notice.news
    parts = [str(action), str(news.attempt), news.phase.name, delivery.channel, str(delivery.notice.created_at)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
