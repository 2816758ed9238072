"""Conditions: a run asks people, and goes on with what they answer."""

import hashlib
from dataclasses import replace

from alula.base.clock import Clock
from alula.blobs.store import Blobs
from alula.core.action import Action, Event, Kind
from alula.core.errors import Conflict, NotFound
from alula.core.ids import ActionId
from alula.core.phase import Phase
from alula.storage import actions as store
from alula.storage import specs
from alula.storage.database import Database, Tx
from alula.wire import conditions as wire


class Conditions:
    """The verbs of conditions."""

    def __init__(self, database: Database, blobs: Blobs, clock: Clock) -> None:
        self._database = database
        self._blobs = blobs
        self._clock = clock

    async def asked(self, action: ActionId) -> tuple[Action, bytes]:
        """A condition and its question (a serialised ConditionAction).

        Raises:
            NotFound: there is no such action.
            Conflict: it is no condition.
        """

        async def read(tx: Tx) -> tuple[Action, bytes]:
            found = await store.find(tx, action)
            if found is None:
                raise NotFound(f"action {action} does not exist")
            if found.kind is not Kind.CONDITION:
                raise Conflict(f"action {action} is no condition: nothing waits for a signal there")
            return found, await specs.get(tx, found.spec)

        return await self._database.read(read)

    async def signal(self, action: ActionId, value: bytes, by: str) -> None:
        """Answer a condition, once: the same answer again is fine, another one is refused.

        The answer is in the object store, under its content, before the row says so.

        Raises:
            Invalid: the answer is not of the type that was asked for.
            NotFound: there is no such action.
            Conflict: it is no condition, has ended, or was answered otherwise.
        """
        condition, spec = await self.asked(action)
        wire.check_answer(spec, value)
        folder = hashlib.sha256(value).hexdigest()[:16]
        prefix = f"{condition.base_uri}/{action.name}/{condition.attempt}/{folder}"
        await self._blobs.put(f"{prefix}/outputs.pb", wire.outputs(value))
        now = self._clock()

        async def write(tx: Tx) -> None:
            row = await store.get(tx, condition.run_key, action.name)
            assert row is not None, "an action that was read exists"
            if row.phase.success and row.value == value:
                return
            if row.phase.terminal:
                how = "was answered otherwise" if row.phase.success else f"has ended ({row.phase.name})"
                raise Conflict(f"condition {action} {how}: it takes no more signals")
            told = Event(action.name, row.attempt, Phase.SUCCEEDED, 0, now, output_uri=f"{prefix}/outputs.pb")
            answered = replace(row, phase=Phase.SUCCEEDED, ended_at=now, value=value, by=by, output_uri=prefix)
            await store.advance(tx, row, answered, [told], now)

        await self._database.write(write)
