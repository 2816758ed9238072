"""The logs of attempts."""

import asyncio
from collections.abc import AsyncIterator

from alula.control.actions import Actions
from alula.core.errors import NotFound
from alula.core.ids import ActionId
from alula.core.launch import LogLine
from alula.core.naming import attempt_name
from alula.executors import base

_LOOKS, _PAUSE = (
    10,
    0.5,
)  # seconds between looks for a log that another replica is about to archive: nobody here is told


class Logs:
    """The verbs of logs."""

    def __init__(self, actions: Actions, kept: base.Logs) -> None:
        self._actions = actions
        self._kept = kept

    async def tail(self, action: ActionId, attempt: int) -> AsyncIterator[list[LogLine]]:
        """The log of an attempt from its beginning, until the attempt has ended. Waits for an attempt to start.

        What another replica keeps in a home of its own is told when the attempt has ended: then it is archived.

        Raises:
            NotFound: there is no such action, or it has had fewer attempts and will have no more; or its log is lost.
            Unavailable: another replica keeps the rest of it.
        """
        if not await self._started(action, attempt):
            return
        name = attempt_name(action, attempt)
        for look in range(_LOOKS):
            try:
                async for lines in self._kept.logs(name, follow=True):
                    yield lines
            except NotFound:
                if look == _LOOKS - 1:
                    raise
                await (asyncio.sleep(_PAUSE) if look else self._ended(action, attempt))
            else:
                return

    async def _started(self, action: ActionId, attempt: int) -> bool:
        """Wait for the attempt; whether there ever was something to read."""
        async for details in self._actions.watch(action):
            row = details.action
            if row.attempt > attempt:
                return True
            if row.attempt == attempt and row.logged:
                return True
            if row.phase.terminal and row.attempt < attempt:
                raise NotFound(f"{action} has had {row.attempt} attempts: there is no log of attempt {attempt}")
        return False

    async def _ended(self, action: ActionId, attempt: int) -> None:
        """Wait until the attempt is over."""
        async for details in self._actions.watch(action):
            if details.action.attempt > attempt or details.action.phase.terminal:
                return
