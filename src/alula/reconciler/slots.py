"""How many attempts run at once. A parent that waits for children gives its place to them: nothing can lock up."""

from alula.reconciler.hints import Key


class Slots:
    """Places for attempts, first come, first served."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._holders: set[Key] = set()
        self._waiting: dict[Key, None] = {}

    def take(self, key: Key) -> bool:
        """Whether an attempt has a place now; without one it waits in line."""
        if key in self._holders:
            return True
        if len(self._holders) >= self._capacity:
            self._waiting[key] = None
            return False
        self._waiting.pop(key, None)
        self._holders.add(key)
        return True

    def waits(self, key: Key) -> bool:
        """Whether an attempt stands in line."""
        return key in self._waiting

    def free(self, key: Key) -> list[Key]:
        """An attempt needs no place any more, or never took the one it was offered; who may try to take one now."""
        self._waiting.pop(key, None)
        self._holders.discard(key)
        return [waiting for waiting, _ in zip(self._waiting, range(self._capacity - len(self._holders)), strict=False)]
