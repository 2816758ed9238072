"""The loop that tells people what they asked to be told."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta

from alula.base.clock import Clock
from alula.control.notices import Notices, Parcel
from alula.core.errors import Unavailable
from alula.core.message import Letter, Message, Request
from alula.core.notice import Delivered, Outcome
from alula.core.phase import Phase
from alula.reconciler.mails import Mails
from alula.reconciler.webhooks import Webhooks
from alula.storage.changes import Change, Changes, everything

_log = logging.getLogger(__name__)
_SENDERS = 16  # messages under way at once
_TICK = 5.0  # seconds; finds what hints missed
_RETRY = 2.0  # seconds until a look that failed is tried again
_GRACE = 5.0  # seconds that messages under way have when the server ends, so that it is known what became of them

Send = Callable[[Message], Awaitable[Outcome]]


def post(webhooks: Webhooks, mails: Mails) -> Send:
    """A sender of whatever there is to send."""

    async def send(message: Message) -> Outcome:
        match message:
            case Request():
                return await webhooks.send(message)
            case Letter():
                return await mails.send(message)

    return send


class Outbox:
    """Works until it is cancelled; several may share one database. Killed and started again, it goes on."""

    def __init__(self, notices: Notices, changes: Changes, send: Send, clock: Clock) -> None:
        self._notices = notices
        self._changes = changes
        self._send = send
        self._clock = clock
        self._under_way: set[asyncio.Task[None]] = set()
        self._look = asyncio.Event()

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._listen())
                tasks.create_task(self._work())
        finally:
            await self._finish()

    async def _listen(self) -> None:
        with self._changes.watch(everything()) as changed:
            while True:
                changes = await changed.next()
                if changes is None or any(_telling(change) for change in changes):
                    self._look.set()

    async def _work(self) -> None:
        while True:
            self._look.clear()
            try:
                wait = await self._step()
            except Unavailable as error:
                _log.warning("notifications: %s; trying again", error)
                wait = _RETRY
            except Exception:
                _log.exception("notifications: a step failed; trying again")
                wait = _RETRY
            try:
                async with asyncio.timeout(wait):
                    await self._look.wait()
            except TimeoutError:
                pass

    async def _step(self) -> float:
        """Do all that can be done now; the seconds until there is more to do, unless something happens before."""
        while await self._notices.open():
            pass
        while (free := _SENDERS - len(self._under_way)) > 0:
            await self._notices.abandon()
            due = await self._notices.next_due()
            wait = _TICK if due is None else (due - self._clock()) / timedelta(seconds=1)
            if wait > 0:
                return min(_TICK, wait)
            for parcel in await self._notices.claim(free):
                task = asyncio.create_task(self._deliver(parcel))
                self._under_way.add(task)
                task.add_done_callback(self._delivered)
        return _TICK  # whoever comes to his end first wakes this loop

    async def _deliver(self, parcel: Parcel) -> None:
        delivery = parcel.delivery
        outcome = await self._send(parcel.message)
        if not isinstance(outcome, Delivered):
            _log.warning("notification %s (%s): %s", delivery.channel, parcel.message.shown, outcome.reason)
        while True:
            try:
                await self._notices.record(delivery, outcome)
            except Unavailable as error:
                _log.warning("notification %s: what became of it is not written yet: %s", delivery.channel, error)
                await asyncio.sleep(_RETRY)
            else:
                return

    def _delivered(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._look.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a notification could not be sent", exc_info=error)

    async def _finish(self) -> None:
        """Let what is under way come to its end; what does not is found by the next server, and not sent again."""
        if self._under_way:
            _, late = await asyncio.wait(self._under_way, timeout=_GRACE)
            for task in late:
                task.cancel()


def _telling(change: Change) -> bool:
    """Whether anybody may want to be told of a change."""
    return change.phase is Phase.PAUSED or (change.phase.terminal and not change.parent)
