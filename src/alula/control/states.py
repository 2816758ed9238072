"""The states of actions that an engine elsewhere works on: its notes to itself. Phases move by events, not by these."""

import json
from dataclasses import dataclass

from alula.base.clock import Clock
from alula.core.action import Action
from alula.core.errors import Invalid, NotFound
from alula.core.ids import ActionId
from alula.storage import actions
from alula.storage import states as store
from alula.storage.database import Database, Tx

LIMIT = 1024 * 1024  # bytes of a state


@dataclass(frozen=True, slots=True)
class States:
    """The verbs of states."""

    database: Database
    clock: Clock

    async def put(self, action: ActionId, state: str, parent: str | None = None) -> None:
        """Remember the state of an action.

        Raises:
            Invalid: it is no JSON or too large, or the action has another parent.
            NotFound: there is no such action.
        """
        _check(state)

        async def write(tx: Tx) -> None:
            row = await _require(tx, action)
            if parent is not None and parent != (row.parent or ""):
                raise Invalid(f"parent_action_name: the parent of {action} is {row.parent or 'none'!r}, not {parent!r}")
            await store.put(tx, row.run_key, row.id.name, state, self.clock())

        await self.database.write(write)

    async def get(self, action: ActionId) -> str:
        """The state that was put last.

        Raises:
            NotFound: there is no such action, or none was ever put.
        """

        async def read(tx: Tx) -> str | None:
            row = await _require(tx, action)
            return await store.get(tx, row.run_key, row.id.name)

        state = await self.database.read(read)
        if state is None:
            raise NotFound(f"no state of action {action} was ever put")
        return state


async def _require(tx: Tx, action: ActionId) -> Action:
    row = await actions.find(tx, action)
    if row is None:
        raise NotFound(f"action {action} does not exist")
    return row


def _check(state: str) -> None:
    if len(state.encode()) > LIMIT:
        raise Invalid(f"state: has more than {LIMIT} bytes")
    try:
        json.loads(state)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"state: is no JSON: {error}") from None
