"""Places for attempts: how many run at once, on what of the machine, and who is next.

A parent that waits for children gives its place to them, and what of the machine can be lent (its CPU). What it cannot
lend, its memory, disk and GPUs, and its place among the runs of a queue, it keeps; so that nothing can lock up, an
attempt is admitted beyond what there is when everything that runs is a parent that waits.
"""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from alula.core.admission import Ask, Limit, Queue, Shape
from alula.core.launch import Amounts
from alula.core.line import Key, Line, Waiting
from alula.core.machine import Machine, Pool

_LIGHT = 1 / 64  # of a place, for what only sleeps: it is a process, and no more
_PASSES = 16  # so often others are served before one that does not fit; then what it lacks is kept for it


@dataclass(slots=True)
class Place:
    """What an attempt holds.

    ``resting``: it waits for children; ``beyond``: what there was not enough of, in words; ``told``: its user knows.
    """

    ask: Ask
    devices: tuple[str, ...] = ()
    resting: bool = False
    beyond: str = ""
    told: bool = False


class Slots:
    """Places, their holders and those who wait for one. It has no clock: who waits how long is its caller's to know."""

    def __init__(
        self, capacity: int, queues: Mapping[str, Queue] | None = None, machine: Machine | None = None
    ) -> None:
        self.queues = queues or {}
        self._capacity = capacity
        self._pool = Pool(machine or Machine())
        self._line = Line()
        self._places: dict[Key, Place] = {}
        self._taken: Counter[Limit | int] = Counter()  # of queues and of runs
        self._active = 0  # places whose holders do not rest
        self._weight = 0.0  # and what of the capacity they take
        self._silent: dict[int, deque[Key]] = {}  # by run: who waits, and nobody was told so

    def take(self, key: Key, ask: Ask) -> list[Key]:
        """Ask for a place, and wait in line for it; who has one because of that, which may be others than this one."""
        if key not in self._places and self._line.get(key) is None:
            self._line.join(key, ask)
            self._line.fill(key[0], full=self._full(key[0], ask.most))
            self._silent.setdefault(key[0], deque()).append(key)
        return self._admit()

    def place(self, key: Key) -> Place | None:
        """What an attempt holds, if it was admitted."""
        return self._places.get(key)

    def hold(self, key: Key, ask: Ask, devices: tuple[str, ...], *, resting: bool) -> None:
        """An attempt exists that nobody here admitted: it holds what it has, whether that fits or not."""
        self._line.leave(key)
        amounts = replace(ask.shape.amounts, gpu=0)
        self._pool.take(amounts)
        self._pool.hold(devices)
        self._enter(key, Place(Ask(replace(ask.shape, amounts=amounts), ask.most), devices))
        if resting:
            self.rest(key)

    def rest(self, key: Key) -> list[Key]:
        """A parent waits for its children, from now on; who has a place because of that."""
        place = self._places.get(key)
        if place is None or place.resting:
            return []
        self._leave(key, place)
        place.resting = True
        self._pool.give(_lent(place))
        return self._admit()

    def free(self, key: Key) -> list[Key]:
        """An attempt needs no place any more, or none after all; who has one because of that."""
        self._line.leave(key)
        place = self._places.pop(key, None)
        if place is not None:
            if not place.resting:
                self._leave(key, place)
                self._pool.give(_lent(place))
            self._pool.give(replace(place.ask.shape.amounts, cpu=0.0), place.devices)
            self._discount(_kept(place))
        return self._admit()

    def taken(self) -> int:
        """How many have a place, but for parents that wait."""
        return self._active

    def waiting(self) -> int:
        """How many stand in line."""
        return len(self._line)

    def waits(self, key: Key) -> bool:
        """Whether an attempt stands in line."""
        return self._line.get(key) is not None

    def untold(self, most: int) -> list[Key]:
        """Who waits and was not named by this before: of each run the next, and so on, until there are enough."""
        found: list[Key] = []
        while self._silent and len(found) < most:
            run, keys = next(iter(self._silent.items()))
            del self._silent[run]
            while keys and not self.waits(keys[0]):
                keys.popleft()
            if keys:
                found.append(keys.popleft())
                self._silent[run] = keys  # behind the other runs
        return found

    def reason(self, key: Key) -> str:
        """What one that stands in line waits for, and behind how many."""
        waiting = self._line.get(key)
        if waiting is None:
            return ""
        shape, most = waiting.ask.shape, waiting.ask.most
        lacks = self._pool.lacks(shape.amounts)
        if self._full(key[0], most):
            what, ahead = f"its run: it may run {most} at once", self._line.ahead(key, lambda _: True, alone=True)
        elif (limit := next((one for one in shape.limits if not self._has_room(one)), None)) is not None:
            may = f"of its runs {limit.most} may be under way" if limit.runs else f"it may run {limit.most} at once"
            what = f"the queue {limit.queue}: {may}"
            ahead = self._line.ahead(key, lambda other: limit in other.limits)
        elif lacks:
            what = ", and for ".join(self._pool.short_of(shape.amounts))
            ahead = self._line.ahead(key, lambda other: any(getattr(other.amounts, name) for name in lacks))
        else:
            taken = f"all {self._capacity} are taken" if self._weight >= self._capacity else "it is kept for another"
            what, ahead = f"a place: {taken}", self._line.ahead(key, lambda _: True)
        behind = f"; {ahead} action{'s are' if ahead != 1 else ' is'} before it" if ahead else ""
        return f"waits for {what}{behind}"

    def _admit(self) -> list[Key]:
        admitted = []
        while self._weight < self._capacity and (waiting := self._next()) is not None:
            amounts = waiting.ask.shape.amounts
            short = "; ".join(self._pool.short_of(amounts))
            self._line.served(waiting.key)
            self._enter(waiting.key, Place(waiting.ask, self._pool.take(amounts), beyond=short))
            admitted.append(waiting.key)
        return admitted

    def _next(self) -> Waiting | None:
        """Whose turn it is; if that one does not fit, the first that does and may pass it."""
        first = self._line.first(self._open)
        if first is None or not (lacks := self._pool.lacks(first.ask.shape.amounts)):
            return first
        kept = lacks if first.passed >= _PASSES else ()
        other = self._line.first(lambda shape: self._open(shape) and self._passes(shape.amounts, kept))
        if other is not None:
            first.passed += 1
        return other or (None if self._active else first)

    def _passes(self, amounts: Amounts, kept: tuple[str, ...]) -> bool:
        return not any(getattr(amounts, name) for name in kept) and not self._pool.lacks(amounts)

    def _open(self, shape: Shape) -> bool:
        return all(map(self._has_room, shape.limits))

    def _has_room(self, limit: Limit) -> bool:
        return self._taken[limit] < limit.most

    def _full(self, run: int, most: int) -> bool:
        return bool(most) and self._taken[run] >= most

    def _enter(self, key: Key, place: Place) -> None:
        self._places[key] = place
        self._active += 1
        self._weight += _weight(place)
        self._taken.update((*_passing(key, place), *_kept(place)))
        self._line.fill(key[0], full=self._full(key[0], place.ask.most))

    def _leave(self, key: Key, place: Place) -> None:
        self._active -= 1
        self._weight -= _weight(place)
        self._discount(_passing(key, place))
        self._line.fill(key[0], full=self._full(key[0], place.ask.most))

    def _discount(self, counted: Sequence[Limit | int]) -> None:
        for what in counted:
            self._taken[what] -= 1
            if not self._taken[what]:
                del self._taken[what]


def _weight(place: Place) -> float:
    return _LIGHT if place.ask.shape.light else 1.0


def _passing(key: Key, place: Place) -> list[Limit | int]:
    """What a place counts against until its holder rests."""
    return [key[0], *(limit for limit in place.ask.shape.limits if not limit.runs)]


def _kept(place: Place) -> list[Limit]:
    """What it counts against until its holder is over."""
    return [limit for limit in place.ask.shape.limits if limit.runs]


def _lent(place: Place) -> Amounts:
    return Amounts(cpu=place.ask.shape.amounts.cpu)
