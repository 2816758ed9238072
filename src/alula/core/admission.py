"""What an action counts against while it runs: the machine, its queue, its run."""

from collections.abc import Mapping
from dataclasses import dataclass

from alula.core.action import Action
from alula.core.launch import Amounts

_NOTHING = Amounts()


@dataclass(frozen=True, slots=True)
class Limit:
    """At most ``most`` of what shares ``name`` run at once."""

    name: str
    most: int


@dataclass(frozen=True, slots=True)
class Shape:
    """What an attempt takes of the machine, and of which queue. Those with the same shape are alike to the machine."""

    amounts: Amounts = _NOTHING
    queue: Limit | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """What an attempt needs to be admitted. ``most`` of its run's may run at once; 0: any number."""

    shape: Shape = Shape()
    most: int = 0


def ask(action: Action, amounts: Amounts, queues: Mapping[str, int]) -> Ask:
    """What an action's attempts need.

    ``queues`` says how many may run at once in a queue: of one project and domain (``project/domain/name``), or of
    each project and domain that has a queue of that name (``name``). A queue that is not mentioned has no limit.
    """
    queue = f"{action.id.run.project}/{action.id.run.domain}/{action.queue}"
    most = queues.get(queue, queues.get(action.queue)) if action.queue else None
    return Ask(Shape(amounts, None if most is None else Limit(queue, most)), action.max_concurrency)
