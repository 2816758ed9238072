"""Which limits an action counts against while it runs."""

from collections.abc import Mapping
from dataclasses import dataclass

from alula.core.action import Action


@dataclass(frozen=True, slots=True)
class Limit:
    """At most ``most`` of what shares ``name`` run at once."""

    name: str
    most: int


def limits(action: Action, queues: Mapping[str, int]) -> tuple[Limit, ...]:
    """The limits of an action's run and of its queue.

    ``queues`` says how many may run at once in a queue: of one project and domain (``project/domain/name``), or of
    each project and domain that has a queue of that name (``name``). A queue that is not mentioned has no limit.
    """
    found = []
    if action.max_concurrency:
        found.append(Limit(f"run {action.id.run}", action.max_concurrency))
    if action.queue:
        queue = f"{action.id.run.project}/{action.id.run.domain}/{action.queue}"
        most = queues.get(queue, queues.get(action.queue))
        if most is not None:
            found.append(Limit(f"queue {queue}", most))
    return tuple(found)
