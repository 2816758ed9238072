"""The logs of attempts."""

from collections.abc import AsyncIterator

from alula.control.actions import Actions
from alula.core.errors import NotFound
from alula.core.ids import ActionId
from alula.core.launch import LogLine
from alula.core.naming import attempt_name
from alula.executors import base


class Logs:
    """The verbs of logs."""

    def __init__(self, actions: Actions, kept: base.Logs) -> None:
        self._actions = actions
        self._kept = kept

    async def tail(self, action: ActionId, attempt: int) -> AsyncIterator[list[LogLine]]:
        """The log of an attempt from its beginning, until the attempt has ended. Waits for an attempt to start.

        Raises:
            NotFound: there is no such action, or it has had fewer attempts and will have no more.
        """
        if not await self._started(action, attempt):
            return
        async for lines in self._kept.logs(attempt_name(action, attempt), follow=True):
            yield lines

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
