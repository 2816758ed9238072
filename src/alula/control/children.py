"""What parents ask for: a child is accepted once, and one that failed under an earlier attempt of its parent again."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from alula.control import recovery
from alula.core.action import Action, CacheStatus, Event, Kind, NewAction
from alula.core.errors import Aborted, Conflict, DomainError, NotFound
from alula.core.ids import ROOT, ActionId, RunId
from alula.core.phase import UNSUCCESSFUL
from alula.storage import actions as store
from alula.storage import specs
from alula.storage.actions import Beginning
from alula.storage.database import Tx
from alula.wire.actions import output_prefix


class Asked(NamedTuple):
    """A child that a parent asks for."""

    run: RunId
    new: NewAction

    @property
    def parent(self) -> ActionId:
        return ActionId(self.run, self.new.parent or ROOT)

    @property
    def id(self) -> ActionId:
        return ActionId(self.run, self.new.name)


async def accept(tx: Tx, asked: Sequence[Asked], now: datetime) -> list[DomainError | None]:
    """Accept children, in order; of each, why it is refused, if it is. What is refused leaves no trace."""
    intake = _Intake(tx, now)
    await intake.read({identifier for one in asked for identifier in (one.parent, one.id)})
    told: list[DomainError | None] = []
    for one in asked:
        try:
            await intake.take(one)
            told.append(None)
        except (NotFound, Aborted, Conflict) as error:
            told.append(error)
    await intake.write()
    return told


class _Intake:
    """Children that are accepted in one transaction. Those that are new are written together."""

    def __init__(self, tx: Tx, now: datetime) -> None:
        self._tx = tx
        self._now = now
        self._rows: dict[ActionId, Action] = {}
        self._begun: list[Beginning] = []
        self._taken: set[ActionId] = set()

    async def read(self, identifiers: set[ActionId]) -> None:
        for run in {identifier.run for identifier in identifiers}:
            names = {identifier.name for identifier in identifiers if identifier.run == run}
            found = await store.find_some(self._tx, run, names)
            self._rows |= {row.id: row for row in found.values()}

    async def take(self, asked: Asked) -> None:
        """Accept a child.

        Raises:
            NotFound: there is no such run or parent.
            Aborted: the parent has ended.
            Conflict: the parent runs elsewhere: what it calls is not this server's to run.
        """
        parent = await self._parent(asked)
        if asked.id in self._taken:  # asked for twice
            return
        known = self._rows.get(asked.id)
        if known is not None and not outdated(known, parent):
            await _adopt(self._tx, known, parent, self._now)
        elif parent.phase.terminal:
            raise Aborted(f"action {parent.id} has ended ({parent.phase.name}): it takes no more children")
        elif not parent.hosted and asked.new.kind is Kind.TASK:
            raise Conflict(f"action {parent.id} runs elsewhere and is only recorded here: record its children, too")
        elif known is not None:
            await _again(self._tx, known, parent, asked.new, self._now)
        else:
            await self._begin(asked, parent)
        self._taken.add(asked.id)

    async def write(self) -> None:
        """Write those that are new."""
        digests = {spec: await specs.put(self._tx, spec) for spec in {one.new.spec for one in self._begun}}
        stored = [one._replace(spec=digests[one.new.spec]) for one in self._begun]
        await store.insert_some(self._tx, stored, self._now)
        self._begun = []

    async def _parent(self, asked: Asked) -> Action:
        if asked.parent in self._taken and asked.parent not in self._rows:
            await self.write()
            await self.read({asked.parent})
        if asked.parent not in self._rows:
            what = f"run {asked.run}" if asked.parent.name == ROOT else f"action {asked.parent}"
            raise NotFound(f"{what} does not exist")
        return self._rows[asked.parent]

    async def _begin(self, asked: Asked, parent: Action) -> None:
        new = replace(asked.new, queue=asked.new.queue or parent.queue)
        begun = await recovery.taken_over(self._tx, parent, new)
        self._begun.append(Beginning(parent.run_key, begun, parent.attempt, b""))
        if parent.recovers is not None:
            await self.write()
            await self.read({asked.id})
            await recovery.take_traces(self._tx, self._rows[asked.id], self._now)


def outdated(child: Action, parent: Action) -> bool:
    """Whether a child failed under an earlier attempt of its parent."""
    return child.phase in UNSUCCESSFUL and child.parent_attempt < parent.attempt


async def _adopt(tx: Tx, known: Action, parent: Action, now: datetime) -> None:
    """A child that runs on is the new attempt's from now on: should it fail yet, that one is to be told."""
    if not known.phase.terminal and known.parent_attempt < parent.attempt:
        same = Event(known.id.name, known.attempt, known.phase, 0, now)  # a new version: who works on it looks again
        await store.advance(tx, known, replace(known, parent_attempt=parent.attempt), [same], now)


async def _again(tx: Tx, known: Action, parent: Action, new: NewAction, now: datetime) -> None:
    """Try a child again; a trace was tried by its parent, who tells how that ended."""
    attempt = known.attempt + 1
    prefix = output_prefix(known.base_uri, new.name, attempt)
    fresh = replace(
        known,
        phase=new.phase,
        attempt=attempt,
        queued_at=now,
        started_at=None,
        parent_attempt=parent.attempt,
        ended_at=(new.ended_at or now) if new.phase.terminal else None,
        user_failures=0,
        system_failures=0,
        logged=False,
        abort_reason="",
        by="",
        value=b"",
        cache_status=CacheStatus.DISABLED,
        failure=new.failure,
        output_uri=new.output_uri if new.kind is Kind.TRACE else prefix,
    )
    await store.advance(tx, known, fresh, store.beginning(new, attempt, now), now)
