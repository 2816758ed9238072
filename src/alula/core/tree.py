"""The tree of a run's actions: how many descendants of each are in which phase."""

from collections import Counter
from dataclasses import dataclass, field

from alula.core.phase import Phase


@dataclass(slots=True)
class _Node:
    parent: str | None
    phase: Phase | None = None  # None: only its children are known yet
    below: Counter[Phase] = field(default_factory=Counter)


@dataclass(slots=True)
class Tree:
    """Grows as actions are told of, in any order: children may come before their parents."""

    _nodes: dict[str, _Node] = field(default_factory=dict)

    def update(self, name: str, parent: str | None, phase: Phase) -> list[str]:
        """Put an action where it belongs; the ancestors whose counts that changed, nearest first."""
        node = self._nodes.setdefault(name, _Node(parent))
        before = node.phase
        moved: Counter[Phase] = Counter()
        if before is None:  # it is new to its ancestors, and so is everything already known below it
            moved.update(node.below)
        else:
            moved[before] -= 1
        moved[phase] += 1
        node.parent, node.phase = parent, phase
        return self._climb(parent, moved) if before is not phase else []

    def below(self, name: str) -> dict[Phase, int]:
        """How many descendants of an action are in each phase."""
        return {phase: count for phase, count in self._nodes[name].below.items() if count}

    def _climb(self, parent: str | None, moved: Counter[Phase]) -> list[str]:
        changed = []
        while parent is not None:
            node = self._nodes.setdefault(parent, _Node(None))
            node.below.update(moved)
            if node.phase is None:  # not told of yet: its own ancestors learn with it
                break
            changed.append(parent)
            parent = node.parent
        return changed
