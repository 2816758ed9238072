"""The loop that fires triggers. There may be any number of them, on any number of servers."""

import asyncio
import logging

from alula.base.clock import Clock
from alula.control.fires import Fires
from alula.core.errors import Unavailable
from alula.storage.changes import Changes, Signal
from alula.storage.triggers import DUE

_log = logging.getLogger(__name__)
_BATCH = 100  # claimed at a time: more of them would keep other schedulers, and requests, waiting
_WORKERS = 2  # one prepares while the other waits for the disk
_TICK = 10.0  # seconds between two looks if nobody says anything: so late a clock that was put forward is noticed
_RETRY = 2.0  # seconds until it is tried again when the database could not be reached


class Scheduler:
    """Works until it is cancelled. Killed and started again it goes on: the rows are its memory."""

    def __init__(self, fires: Fires, changes: Changes, clock: Clock) -> None:
        self._fires = fires
        self._changes = changes
        self._clock = clock

    async def run(self) -> None:
        with self._changes.signal(DUE) as told:
            while True:
                try:
                    await self.catch_up()
                    await self._wait(told)
                except Unavailable as error:
                    _log.warning("%s; trying again", error)
                    await asyncio.sleep(_RETRY)
                except Exception:
                    _log.exception("firing failed; trying again")
                    await asyncio.sleep(_RETRY)

    async def catch_up(self) -> int:
        """Fire until nothing is due that could be claimed; how many runs there are now."""
        # Should one fail, the other ends what it has claimed: else that would have to wait until the claim is over.
        ended = await asyncio.gather(*(self._work() for _ in range(_WORKERS)), return_exceptions=True)
        made = [one for one in ended if not isinstance(one, BaseException)]
        for error in ended:
            if isinstance(error, BaseException):
                raise error
        return sum(made)

    async def _work(self) -> int:
        made = 0
        while claimed := await self._fires.claim(_BATCH):
            made += await self._fires.make(claimed)
        return made

    async def _wait(self, told: Signal) -> None:
        """Until something is due, as far as is known, or somebody says that this has changed."""
        due = await self._fires.look()
        seconds = _TICK if due is None else min(_TICK, max(0.0, (due - self._clock()).total_seconds()))
        try:
            async with asyncio.timeout(seconds):
                await told.next()
        except TimeoutError:
            pass
