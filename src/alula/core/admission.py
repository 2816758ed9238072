"""What an action counts against while it runs: the machine, its queue, its run."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from alula.core.action import Action
from alula.core.launch import Amounts

_NOTHING = Amounts()


@dataclass(frozen=True, slots=True)
class Queue:
    """How much of a queue runs at once: actions, of which parents that wait for children do not count, and runs."""

    actions: int | None = None
    runs: int | None = None


@dataclass(frozen=True, slots=True)
class Limit:
    """At most ``most`` of what shares a queue run at once. ``runs``: of runs, which also count while they wait."""

    queue: str
    most: int
    runs: bool = False


@dataclass(frozen=True, slots=True)
class Shape:
    """What an attempt takes of the machine, and of its queue. Those with the same shape are alike to the machine.

    ``light``: it does nothing, and takes next to nothing of a place.
    """

    amounts: Amounts = _NOTHING
    limits: tuple[Limit, ...] = ()
    light: bool = False


@dataclass(frozen=True, slots=True)
class Ask:
    """What an attempt needs to be admitted. ``most`` of its run's may run at once; 0: any number."""

    shape: Shape = Shape()
    most: int = 0


def ask(action: Action, amounts: Amounts, queues: Mapping[str, Queue], *, light: bool = False) -> Ask:
    """What an action's attempts need.

    ``queues`` are those with limits: of one project and domain (``project/domain/name``), or of each project and
    domain that has a queue of that name (``name``). A queue that is not mentioned has none.
    """
    name = f"{action.id.run.project}/{action.id.run.domain}/{action.queue}"
    queue = queues.get(name) or queues.get(action.queue) if action.queue else None
    limits = () if queue is None else tuple(_limits(action, name, queue))
    return Ask(Shape(amounts, limits, light), action.max_concurrency)


def _limits(action: Action, name: str, queue: Queue) -> Iterator[Limit]:
    if queue.actions is not None:
        yield Limit(name, queue.actions)
    if queue.runs is not None and action.parent is None:
        yield Limit(name, queue.runs, runs=True)
