"""How many attempts run at once. A parent that waits for children gives its place to them: nothing can lock up."""

from collections import Counter
from collections.abc import Mapping

from alula.core.admission import Limit
from alula.reconciler.hints import Key


class Slots:
    """Places for attempts, first come, first served; some share a limit of their own (see `core.admission`)."""

    def __init__(self, capacity: int, queues: Mapping[str, int] | None = None) -> None:
        self.queues = queues or {}
        self._capacity = capacity
        self._holders: dict[Key, tuple[Limit, ...]] = {}
        self._waiting: dict[Key, tuple[Limit, ...]] = {}
        self._taken: Counter[str] = Counter()

    def take(self, key: Key, limits: tuple[Limit, ...] = ()) -> bool:
        """Whether an attempt has a place now; without one it waits in line."""
        if key in self._holders:
            return True
        if len(self._holders) >= self._capacity or not _fits(limits, self._taken):
            self._waiting[key] = limits
            return False
        self._waiting.pop(key, None)
        self._holders[key] = limits
        self._taken.update(limit.name for limit in limits)
        return True

    def taken(self) -> int:
        """How many have a place."""
        return len(self._holders)

    def waiting(self) -> int:
        """How many stand in line."""
        return len(self._waiting)

    def waits(self, key: Key) -> bool:
        """Whether an attempt stands in line."""
        return key in self._waiting

    def free(self, key: Key) -> list[Key]:
        """An attempt needs no place any more, or never took the one it was offered; who may try to take one now."""
        self._waiting.pop(key, None)
        for limit in self._holders.pop(key, ()):
            self._taken[limit.name] -= 1
            if not self._taken[limit.name]:
                del self._taken[limit.name]
        return self._next()

    def _next(self) -> list[Key]:
        room = self._capacity - len(self._holders)
        taken = Counter(self._taken)
        offered: list[Key] = []
        for key, limits in self._waiting.items():
            if len(offered) >= room:
                break
            if _fits(limits, taken):
                taken.update(limit.name for limit in limits)
                offered.append(key)
        return offered


def _fits(limits: tuple[Limit, ...], taken: Counter[str]) -> bool:
    return all(taken[limit.name] < limit.most for limit in limits)
