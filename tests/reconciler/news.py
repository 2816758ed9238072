"""Runs that people want to be told of, and the loop that tells them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from flyteidl2.core import types_pb2
from flyteidl2.notification import definition_pb2 as wire
from flyteidl2.task import run_pb2
from flyteidl2.workflow import run_definition_pb2

from alula.base.clock import system_clock
from alula.base.settings import Mailing
from alula.control.notices import Notices
from alula.core import callback, notice
from alula.core.action import Event, Failure, Kind, Note
from alula.core.destination import Reach, reach
from alula.core.ids import ROOT
from alula.core.notice import Book, Outcome, State
from alula.core.phase import Phase
from alula.reconciler.mails import Mails
from alula.reconciler.outbox import Outbox, Send, post
from alula.reconciler.webhooks import Webhooks
from alula.storage import actions as store
from alula.storage import outbox
from alula.storage.database import Tx
from alula.storage.outbox import Delivery
from tests.control.world import World, child, creation, no_chance

KEY = callback.key("secret")
PATIENCE = 20.0  # seconds until a test that goes wrong is given up
_OPEN = (State.WAITING, State.SENDING)


def hook(url: str, *phases: Phase, body: str = "{{.Phase}}", **headers: str) -> run_pb2.InlineRule:
    template = wire.WebhookDeliveryTemplate(url=url, method=wire.HTTP_METHOD_POST, headers=headers, body_template=body)
    return run_pb2.InlineRule(
        on_phases=[int(p) for p in phases],  # type: ignore[misc]
        delivery_template=wire.DeliveryConfigTemplate(webhook=template),
    )


def mail(*addresses: str, phase: Phase = Phase.FAILED) -> run_pb2.InlineRule:
    template = wire.EmailDeliveryTemplate(
        to=[wire.EmailRecipient(address=address) for address in addresses],
        inline=wire.InlineEmailTemplate(
            subject="{{.Run.Name}}", html_template="No HTML body", text_template="{{.Error}}"
        ),
    )
    return run_pb2.InlineRule(
        on_phases=[int(phase)],  # type: ignore[list-item]
        delivery_template=wire.DeliveryConfigTemplate(email=template),
    )


class _Told(Notices):
    """Notices that tell when something was written."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.written = asyncio.Condition()

    async def open(self) -> bool:
        more = await super().open()
        await self._wake()
        return more

    async def _settle(self, delivery: Delivery, state: State, error: str, at: datetime | None = None) -> None:
        await super()._settle(delivery, state, error, at)
        await self._wake()

    async def _wake(self) -> None:
        async with self.written:
            self.written.notify_all()


@dataclass
class Newsroom:
    """One world, and what tells of it. ``ahead`` is how far this server's clock is."""

    world: World
    book: Book = field(default_factory=Book)
    mailing: Mailing | None = None
    allowed: Reach = field(default_factory=lambda: reach(["127.0.0.1"], private=False))
    ahead: timedelta = timedelta(0)

    def __post_init__(self) -> None:
        self.notices = self.verbs()

    def clock(self) -> datetime:
        return system_clock() + self.ahead

    def verbs(self) -> _Told:
        def link(action: Any) -> str:
            return callback.uri("http://here", KEY, action)

        return _Told(self.world.database, self.clock, self.book, link, lambda: 0.0)

    def send(self) -> Send:
        return post(Webhooks(self.allowed), Mails(self.mailing))

    def loop(self, notices: Any = None, send: Send | None = None) -> Outbox:
        return Outbox(notices or self.notices, self.world.changes, send or self.send(), self.clock)

    @asynccontextmanager
    async def at_work(self, count: int = 1, send: Send | None = None) -> AsyncIterator[None]:
        """Tell people while the block lasts."""
        async with asyncio.timeout(PATIENCE):
            working = [asyncio.create_task(self.loop(send=send).run()) for _ in range(count)]
            try:
                yield
                assert not any(task.done() for task in working), "the loop gave up"
            finally:
                for task in working:
                    task.cancel()
                with suppress(asyncio.CancelledError):
                    await asyncio.gather(*working)

    async def begin(self, *rules: run_pb2.InlineRule, run: str = "r", named: str = "") -> None:
        """A run that has rules."""
        spec = run_pb2.RunSpec()
        if named:
            spec.notification_rule_name = named
        elif rules:
            spec.notification_rules.rules.extend(rules)
        root = await self.world.runs.create(creation(run, run_spec=spec.SerializeToString()), no_chance)

        async def write(tx: Tx) -> None:
            flag = int(spec.WhichOneof("notification_settings") is not None)
            await tx.execute("UPDATE runs SET notify = :flag WHERE key = :run", {"flag": flag, "run": root.run_key})

        await self.world.database.write(write)

    async def end(self, phase: Phase = Phase.FAILED, run: str = "r", error: str = "boom") -> None:
        """The run ends."""
        failure = Failure("Code", error) if phase in (Phase.FAILED, Phase.TIMED_OUT) else None
        root = await self.world.get(ROOT, run)
        await self.world.attempts.settle(root, [Event(ROOT, 1, phase, 0, self.clock(), failure=failure)])
        await self._due(ROOT, run)

    async def ask(self, name: str, url: str = "", payload: Any = None, run: str = "r") -> None:
        """The run asks people something."""
        asked = run_definition_pb2.ConditionAction(name=name, prompt="Go on?", description="It is late.")
        asked.type.simple = types_pb2.BOOLEAN
        asked.webhook.url = url
        asked.webhook.payload.update(payload or {})
        new = child(name, kind=Kind.CONDITION, phase=Phase.PAUSED, spec=asked.SerializeToString())
        await self.world.actions.enqueue(self.world.id(ROOT, run).run, new)
        await self._due(name, run)

    async def _due(self, name: str, run: str) -> None:
        action = await self.world.get(name, run)

        async def write(tx: Tx) -> None:
            await outbox.due(tx, notice.of(action), self.clock())
            await store.append(tx, action, Event(name, action.attempt, action.phase, 0, self.clock()), self.clock())

        await self.world.database.write(write)

    async def deliveries(self, run: str = "r") -> list[Delivery]:
        root = await self.world.get(ROOT, run)
        return await self.world.database.read(lambda tx: outbox.of_run(tx, root.run_key))

    async def told(self, count: int = 1, run: str = "r") -> dict[str, State]:
        """Wait until so many deliveries have come to their end; how each did."""
        async with self.notices.written:
            while True:
                found = await self.deliveries(run)
                if len(found) == count and not any(d.state in _OPEN for d in found):
                    return {delivery.channel: delivery.state for delivery in found}
                await self.notices.written.wait()

    async def tried(self, tries: int, run: str = "r") -> Delivery:
        """Wait until the one delivery there is waits for a next try, after so many."""
        async with self.notices.written:
            while True:
                for delivery in await self.deliveries(run):
                    if delivery.tries >= tries and delivery.state is State.WAITING:
                        return delivery
                await self.notices.written.wait()

    async def notes(self, name: str = ROOT, run: str = "r") -> Sequence[Note]:
        details = await self.world.actions.details(self.world.id(name, run))
        return [note for attempt in details.attempts for note in attempt.notes]


class Fails:
    """A sender that raises: a mistake in it."""

    async def __call__(self, message: Any) -> Outcome:
        raise ValueError("a mistake")
