"""Whether an attempt may start now: what it asks for, its place, and what its user is told while it waits for one."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from alula.base.clock import Clock
from alula.control.attempts import Attempts
from alula.core.action import Action, Event, Failure, Note
from alula.core.admission import ask
from alula.core.decide import Retry
from alula.core.errors import LaunchRefused
from alula.core.expiry import next_expiry
from alula.core.launch import Amounts, MoreMemory, Observation, Resources
from alula.core.machine import Machine, share, size
from alula.core.phase import Phase
from alula.core.retry import Budget, raised
from alula.reconciler.hints import Hints, Key
from alula.reconciler.slots import Slots

_SOON = 1.0  # seconds that an action waits for a place until its user is told of it, or twice that
_ENDLESS, _NEVER = Machine(), MoreMemory()
_AT_ONCE = 10  # users' actions that are told of in that time: each is a write


@dataclass(frozen=True, slots=True)
class Rules:
    """What a machine has, whether tasks that ask for more are refused, and what follows when memory did not suffice."""

    machine: Machine = _ENDLESS
    strict: bool = False
    more: MoreMemory = _NEVER
    counted: bool = True  # whether attempts are this machine's at all


@dataclass(frozen=True, slots=True)
class Admitted:
    """What an attempt starts with; ``action`` is its row by now."""

    action: Action
    resources: Resources
    devices: tuple[str, ...]


class Admission:
    """Hands out the places of one machine."""

    def __init__(self, attempts: Attempts, slots: Slots, rules: Rules, clock: Clock) -> None:
        self._attempts = attempts
        self._slots = slots
        self._rules = rules
        self._clock = clock
        self._to_tell: set[Key] = set()
        self._next: list[Key] = []  # to be told of when they have waited long enough
        self._timer: asyncio.TimerHandle | None = None

    async def admit(self, action: Action, hints: Hints) -> Admitted | None:
        """Let an attempt start, or have it wait: then it is hinted at when there is a place.

        Raises:
            LaunchRefused: it asks for something that this machine will never have, and has no limit to its patience.
        """
        key = _key(action)
        asked = await self._asked(action)
        try:
            amounts, notes = self._share(asked, strict=self._rules.strict)
        except LaunchRefused as never:
            if next_expiry(action) is None:
                raise
            if action.phase is Phase.QUEUED:  # who says how long to wait is told what for, and gets the time-out
                waits = _told(action, Phase.WAITING_FOR_RESOURCES, self._clock(), str(never))
                await self._attempts.moved(action, waits)
            return None
        needs = ask(action, amounts, self._slots.queues, light=asked.light)
        hints.add(other for other in self._slots.take(key, needs) if other != key)
        place = self._slots.place(key)
        if place is None:
            await self._wait(action, key, hints)
            return None
        if place.beyond:
            notes += (f"all that runs waits for children: started though it needs {place.beyond}",)
        if notes and not place.told:
            action = await self._attempts.moved(action, _told(action, action.phase, self._clock(), *notes))
            place.told = True
        return Admitted(action, asked, place.devices)

    async def count(self, action: Action, seen: Observation) -> None:
        """An attempt exists that an earlier life of this server started: it holds what it has."""
        if action.phase.terminal:
            return
        asked, amounts = Resources(), Amounts()
        with suppress(LaunchRefused):  # the machine had more when it was started
            asked = await self._asked(action)
            amounts, _ = self._share(asked, strict=False)
        parent = await self._attempts.has_children(action)
        needs = ask(action, amounts, self._slots.queues, light=asked.light)
        self._slots.hold(_key(action), needs, seen.devices, resting=parent)

    async def more_memory(self, action: Action, failure: Failure) -> Retry | None:
        """The next try of an action whose attempt ran out of memory, if it may have more of it."""
        try:
            asked = await self._attempts.asked(action)
        except LaunchRefused:  # of a cluster: its Manager makes something of what no process could be
            return None
        kills = await self._attempts.kills(action)
        more = asked.more or self._rules.more
        had, gets = (raised(asked, more, count).limits.memory for count in (kills, kills + 1))
        if gets <= had:
            return None
        note = f"{size(had)} of memory did not suffice: attempt {action.attempt + 1} gets {size(gets)}"
        return Retry(failure, self._clock(), Budget.MEMORY, note)

    def rest(self, action: Action) -> Iterable[Key]:
        """An action is under way: its parent waits for it. Who may start because of that."""
        return self._slots.rest((action.run_key, action.parent)) if action.parent is not None else ()

    def free(self, key: Key) -> list[Key]:
        """An action needs no place (any more). Who may start because of that."""
        self._to_tell.discard(key)
        return self._slots.free(key)

    def holds(self, key: Key) -> bool:
        """Whether an action has a place."""
        return self._slots.place(key) is not None

    def waits(self, key: Key) -> bool:
        """Whether an action only waits for a place: it is told when there is one."""
        return self._slots.waits(key)

    def _share(self, asked: Resources, *, strict: bool) -> tuple[Amounts, tuple[str, ...]]:
        return share(asked, self._rules.machine, strict=strict) if self._rules.counted else (Amounts(), ())

    async def _asked(self, action: Action) -> Resources:
        """What it asks for; of an attempt that is not this machine's only if that is not what its template says."""
        if action.attempt == 1 and not self._rules.counted:
            return Resources()
        asked = await self._attempts.asked(action)
        more = asked.more or self._rules.more
        kills = await self._attempts.kills(action) if action.attempt > 1 and more.times else 0
        gets = raised(asked, more, kills)
        return gets if self._rules.counted or gets != asked else Resources()

    async def _wait(self, action: Action, key: Key, hints: Hints) -> None:
        """Write down what the action waits for, once, and not before it has waited for a while."""
        if key in self._to_tell:
            if action.phase is Phase.QUEUED:
                waits = _told(action, Phase.WAITING_FOR_RESOURCES, self._clock(), self._slots.reason(key))
                await self._attempts.moved(action, waits)
            self._to_tell.discard(key)
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_SOON, self._tell, hints)

    def _tell(self, hints: Hints) -> None:
        """Have those looked at that wait for a while; the next ones are those that wait by now."""
        due = [key for key in self._next if self._slots.waits(key)]
        self._to_tell.update(due)
        hints.add(due)
        self._next = self._slots.untold(_AT_ONCE)
        again = bool(self._next or self._slots.waiting())
        self._timer = asyncio.get_running_loop().call_later(_SOON, self._tell, hints) if again else None


def _told(action: Action, phase: Phase, now: datetime, *texts: str) -> Event:
    notes = tuple(Note(now, text) for text in texts)
    return Event(action.id.name, action.attempt, phase, 0, now, notes=notes)


def _key(action: Action) -> Key:
    return action.run_key, action.id.name
