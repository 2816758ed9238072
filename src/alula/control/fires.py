"""Firing: what triggers owe becomes runs, each exactly once, whoever and however many are at it.

A run that is owed is one transaction: the run is written and its trigger advanced beyond it, or neither. So two
schedulers, or one that died and one that took over, cannot make two runs of one tick, nor lose one. What a run needs
outside of the database (its inputs) is stored before, under its content: to do that twice does no harm.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from alula.base.clock import Clock
from alula.control.once import Once
from alula.control.runs import Plan, Runs, insert
from alula.core import naming, schedule
from alula.core.errors import DomainError
from alula.core.run import Creation
from alula.core.trigger import Automation, Fire
from alula.storage import fires as store
from alula.storage.database import Database, Tx
from alula.wire import triggers as wire

_log = logging.getLogger(__name__)
LEASE = timedelta(seconds=10)  # nobody else looks at what is claimed for so long
LONGEST_PAUSE = timedelta(minutes=5)  # between two tries
PATIENCE = timedelta(days=1)  # after which the run for a version of an artifact is given up
_SHARED = 10  # runs written in one operation, a few statements for all; tried one by one if it fails
_SOURCES = {Automation.SCHEDULE: 3, Automation.ARTIFACT: 5}  # `workflow.RunSource`

Ready = tuple[Fire, Plan]


@dataclass(frozen=True, slots=True)
class Fires:
    """The verbs of schedulers.

    ``catch_up``: of the ticks that a trigger missed while no scheduler was at work, so many are made up for, the latest
    ones; the others are skipped, and the trigger says so.
    """

    database: Database
    runs: Runs
    clock: Clock
    catch_up: int = 1

    async def claim(self, limit: int) -> list[Fire]:
        """What is due and nobody works on, at most ``limit`` of ticks and of versions of artifacts.

        Raises:
            Unavailable: the database cannot be written.
        """

        async def write(tx: Tx) -> list[Fire]:
            now = self.clock()
            ticks = await store.claim_ticks(tx, now, now + LEASE, limit)
            return [
                *(Fire(t, t.next_at, "", failures=t.failures) for t in ticks if t.next_at),
                *await store.claim_versions(tx, now, now + LEASE, limit),
            ]

        return sorted(await self.database.write(write), key=lambda fire: fire.at)

    async def look(self) -> datetime | None:
        """When something is due or tried again next, as far as is known."""
        return await self.database.read(store.look)

    async def make(self, claimed: Sequence[Fire]) -> int:
        """Make the runs that are owed; how many there are now. One that cannot be made is tried again later.

        Raises:
            Unavailable: the database cannot be written; what was claimed is tried again when the claim is over.
        """
        once = Once()
        tried = await asyncio.gather(*(self._prepare(fire, once) for fire in claimed))
        ready = [one for one in tried if one is not None]
        groups = [ready[i : i + _SHARED] for i in range(0, len(ready), _SHARED)]
        return sum(await asyncio.gather(*(self._carry_out(group) for group in groups)))

    async def _prepare(self, fire: Fire, once: Once) -> Ready | None:
        try:
            found = self._tick(fire) if fire.key is None else fire
            return found, await self.runs.plan(_creation(found), found.trigger, bytes, once.get)
        except Exception as error:
            await self._failed(fire, error)
            return None

    def _tick(self, fire: Fire) -> Fire:
        """Which tick is due: the one the trigger waits for, unless it missed more of them than are made up for."""
        trigger = fire.trigger
        when = wire.schedule(trigger.new.automation, trigger.deployed_at)
        assert when is not None, "it has a time at which it is due"
        tick, after = schedule.due(when, fire.at, self.clock(), self.catch_up)
        note = ""
        if tick > fire.at:
            note = f"{_text(fire.at)} to {_text(tick)}: missed; only the last {self.catch_up} are made up for"
            _log.warning("trigger %s: %s", trigger.id, note)
        return replace(fire, at=tick, seed=f"tick {_text(tick)}", next_at=after, note=note)

    async def _carry_out(self, group: Sequence[Ready]) -> int:
        async def write(tx: Tx) -> int:
            owed = await store.settle(tx, [fire for fire, _ in group], self.clock())
            return await insert(tx, [plan for fire, plan in group if fire in owed])

        try:
            return await self.database.write(write)
        except Exception as error:
            if len(group) == 1:
                await self._failed(group[0][0], error)
                return 0
        return sum([await self._carry_out([one]) for one in group])

    async def _failed(self, fire: Fire, error: Exception) -> None:
        if isinstance(error, DomainError):
            _log.warning("trigger %s could not be fired for %s: %s", fire.trigger.id, _text(fire.at), error)
        else:
            _log.error("trigger %s could not be fired for %s", fire.trigger.id, _text(fire.at), exc_info=error)
        why = str(error) if isinstance(error, DomainError) else f"an error of this server: {type(error).__name__}"
        now = self.clock()
        pause = min(timedelta(seconds=2.0 ** min(fire.failures, 20)), LONGEST_PAUSE)

        async def write(tx: Tx) -> None:
            if fire.key is not None and now - fire.at > PATIENCE:
                await store.give_up(tx, fire, f"{fire.seed}: given up; {why}")
            else:
                await store.failed(tx, fire, f"{_text(fire.at)}: {why}", now + pause)

        await self.database.write(write)


def _creation(fire: Fire) -> Creation:
    """The run that is owed. Its name says for what: the same is never made twice."""
    trigger = fire.trigger
    return Creation(
        project=trigger.id.project,
        domain=trigger.id.domain,
        org=trigger.new.org,
        name=naming.run_name(f"{trigger.id}\0{fire.seed}".encode()),
        task=None,
        spec=b"",
        inputs=fire.inputs,
        input_uri="",
        run_spec=b"",
        labels={},
        relation=b"",
        base_dir="",
        source=_SOURCES[trigger.new.kind],
        starts_at=fire.at,
        request="",
        created_by=trigger.deployed_by,
        trigger=trigger.id,
    )


def _text(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"
