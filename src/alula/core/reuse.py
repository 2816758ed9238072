"""How many reusable workers there should be, and which of them runs what: the SDK's ``ReusePolicy``."""

from collections.abc import Sequence
from dataclasses import dataclass

from alula.core.launch import Reuse


@dataclass(frozen=True, slots=True)
class Worker:
    """A process that serves attempts. ``since``: when it was started, or last had one, in seconds of a steady clock."""

    name: str
    ready: bool
    busy: int
    since: float


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now. ``look``: when to plan again if nothing happens before."""

    start: int = 0
    give: tuple[str, ...] = ()  # the worker for each of the first attempts in line; the rest wait on
    end: tuple[str, ...] = ()
    look: float | None = None


def plan(reuse: Reuse, workers: Sequence[Worker], waiting: int, parents: int, now: float) -> Plan:
    """Decide for the workers of one key, of which ``waiting`` attempts stand in line.

    ``parents`` of the attempts that run wait for others of the same key. They keep their places and do not count
    against the most there may be: else a few of them would wait for ever.
    """
    running = sum(worker.busy for worker in workers)
    give = _give(workers, waiting, reuse.concurrency)
    if not running + waiting:
        return _rest(reuse, workers, now)
    most = reuse.most + -(-parents // reuse.concurrency)
    wanted = min(max(-(-(running + waiting) // reuse.concurrency), reuse.least, 1), max(most, 1))
    idle = [worker for worker in workers if not worker.busy and worker.name not in give]
    end, look = _tired(idle, len(workers) - wanted, reuse.scaledown, now)
    return Plan(max(0, wanted - len(workers)), give, end, look)


def _give(workers: Sequence[Worker], waiting: int, concurrency: int) -> tuple[str, ...]:
    """Attempts go to who has least to do; of those, to who worked last, so that the others may come to rest."""
    busy = {worker.name: worker.busy for worker in workers if worker.ready}
    since = {worker.name: worker.since for worker in workers}
    given: list[str] = []
    while len(given) < waiting and busy:
        name = min(busy, key=lambda one: (busy[one], -since[one]))
        if busy[name] >= concurrency:
            break
        busy[name] += 1
        given.append(name)
    return tuple(given)


def _rest(reuse: Reuse, workers: Sequence[Worker], now: float) -> Plan:
    """Nothing to do: after a while all of them end, and those that are too many before."""
    if not workers:
        return Plan()
    over = max(worker.since for worker in workers) + reuse.idle
    if over <= now:
        return Plan(end=tuple(worker.name for worker in workers))
    end, look = _tired(workers, len(workers) - reuse.least, reuse.scaledown, now)
    return Plan(end=end, look=over if look is None else min(look, over))


def _tired(idle: Sequence[Worker], spare: int, patience: float, now: float) -> tuple[tuple[str, ...], float | None]:
    """Of so many that are too many, those that had nothing to do for long enough, and when the next will have."""
    oldest = sorted(idle, key=lambda worker: worker.since)[: max(0, spare)]
    end = tuple(worker.name for worker in oldest if worker.since + patience <= now)
    left = [worker.since + patience for worker in oldest if worker.name not in end]
    return end, min(left, default=None)
