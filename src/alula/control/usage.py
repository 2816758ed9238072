"""What attempts used of the machine."""

from alula.control.actions import Actions
from alula.core.errors import NotFound
from alula.core.ids import ActionId
from alula.core.naming import attempt_name
from alula.core.usage import Usage
from alula.executors.base import Measured


class Usages:
    """The verb of usage."""

    def __init__(self, actions: Actions, kept: Measured) -> None:
        self._actions = actions
        self._kept = kept

    async def get(self, action: ActionId, attempt: int) -> Usage:
        """What an attempt has used up to now.

        Raises:
            NotFound: there is no such action or attempt, or it had no process of its own.
        """
        await self._actions.get(action)
        found = await self._kept.usage(attempt_name(action, attempt))
        if found is None:
            raise NotFound(
                f"nothing is known of what attempt {attempt} of {action} used: it has not started, "
                "or it had no process of its own on this machine"
            )
        return found
