"""The tree of a run's actions: how many descendants of each are in which phase, or are whatever else is counted."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


@dataclass(slots=True)
class _Node(Generic[K]):
    parent: str | None
    kind: K | None = None  # None: only its children are known yet
    below: dict[K, int] = field(default_factory=dict)


@dataclass(slots=True)
class Tree(Generic[K]):
    """Grows as actions are told of, in any order: children may come before their parents. Counts by kind (a phase)."""

    _nodes: dict[str, _Node[K]] = field(default_factory=dict)

    def update(self, name: str, parent: str | None, kind: K) -> list[str]:
        """Put an action where it belongs; the ancestors whose counts that changed, nearest first."""
        node = self._nodes.setdefault(name, _Node(parent))
        before = node.kind
        node.parent, node.kind = parent, kind
        if before == kind:
            return []
        # It may be new to its ancestors, and then so is everything already known below it.
        moved = {before: -1} if before is not None else dict(node.below)
        _add(moved, {kind: 1})
        return self._climb(parent, moved)

    def kind(self, name: str) -> K | None:
        """What an action was last told to be."""
        return self._nodes[name].kind

    def below(self, name: str) -> dict[K, int]:
        """How many descendants of an action are of each kind."""
        return {kind: count for kind, count in self._nodes[name].below.items() if count}

    def _climb(self, parent: str | None, moved: Mapping[K, int]) -> list[str]:
        changed = []
        while parent is not None:
            node = self._nodes.setdefault(parent, _Node(None))
            _add(node.below, moved)
            if node.kind is None:  # not told of yet: its own ancestors learn with it
                break
            changed.append(parent)
            parent = node.parent
        return changed


def _add(counts: dict[K, int], moved: Mapping[K, int]) -> None:
    for kind, count in moved.items():
        counts[kind] = counts.get(kind, 0) + count
