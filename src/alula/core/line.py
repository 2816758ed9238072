"""Who waits, in the order in which they are to be served: runs take turns, and in a run the first that came is first.

Those of a run that have the same shape wait behind each other; of these lines only the heads are compared. So a step
costs as many comparisons as there are different shapes, and the logarithm of how many runs wait.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush

from alula.core.admission import Ask, Shape

Key = tuple[int, str]  # run, action


@dataclass(slots=True)
class Waiting:
    """One that waits. ``number``: in the order of coming; ``passed``: how often another was served in its turn."""

    key: Key
    ask: Ask
    number: int
    passed: int = 0


@dataclass(slots=True)
class _Run:
    """``turn``: it is served before those with a later one. ``full``: it is not served now."""

    turn: int
    full: bool = False
    lines: dict[Shape, OrderedDict[Key, Waiting]] = field(default_factory=dict)


class Line:
    """Everybody who waits."""

    def __init__(self) -> None:
        self._all: dict[Key, Waiting] = {}
        self._runs: dict[int, _Run] = {}
        self._heads: dict[Shape, list[tuple[int, int, int]]] = {}  # turn, number, run; also ones that are so no more
        self._count = 0  # of who came and of turns taken

    def __len__(self) -> int:
        return len(self._all)

    def get(self, key: Key) -> Waiting | None:
        """Who waits under a key."""
        return self._all.get(key)

    def join(self, key: Key, ask: Ask) -> None:
        """Stand in line, behind what came before. A run that had nobody there comes behind all others."""
        self._count += 1
        run = self._runs.setdefault(key[0], _Run(self._count))
        line = run.lines.setdefault(ask.shape, OrderedDict())
        line[key] = self._all[key] = Waiting(key, ask, self._count)
        if len(line) == 1:
            self._show(key[0], run, ask.shape)

    def leave(self, key: Key) -> None:
        """Wait no longer, for whatever reason."""
        waiting = self._all.pop(key, None)
        if waiting is None:
            return
        run = self._runs[key[0]]
        line = run.lines[waiting.ask.shape]
        was_head = next(iter(line)) == key
        del line[key]
        if line and was_head:
            self._show(key[0], run, waiting.ask.shape)
        elif not line:
            del run.lines[waiting.ask.shape]
            if not run.lines:
                del self._runs[key[0]]

    def served(self, key: Key) -> None:
        """It was its turn: it leaves, and its run is behind all others now."""
        self.leave(key)
        run = self._runs.get(key[0])
        if run is not None:
            self._count += 1
            run.turn = self._count
            self._show_all(key[0], run)

    def fill(self, number: int, *, full: bool) -> None:
        """None of a run's is to be served, or they are again."""
        run = self._runs.get(number)
        if run is not None and run.full != full:
            run.full = full
            self._show_all(number, run)

    def first(self, fits: Callable[[Shape], bool]) -> Waiting | None:
        """The first whose shape is fit to be served."""
        best: tuple[int, int, Shape, int] | None = None
        for shape in list(self._heads):
            head = self._head(shape)
            if head is not None and (best is None or head[:2] < best[:2]) and fits(shape):
                best = (head[0], head[1], shape, head[2])
        return None if best is None else next(iter(self._runs[best[3]].lines[best[2]].values()))

    def ahead(self, key: Key, competes: Callable[[Shape], bool], *, alone: bool = False) -> int:
        """How many of those that compete with one that waits are to be served before it, as far as can be said now.

        ``alone``: its own run's only. It takes a look at every run.
        """
        mine, number = self._runs[key[0]], self._all[key].number
        before = 0
        for line in (line for shape, line in mine.lines.items() if competes(shape)):
            for waiting in line.values():
                if waiting.number >= number:
                    break
                before += 1
        others = () if alone else (run for run in self._runs.values() if run is not mine and not run.full)
        return before + sum(
            min(before + (run.turn < mine.turn), sum(len(line) for shape, line in run.lines.items() if competes(shape)))
            for run in others
        )

    def _show(self, number: int, run: _Run, shape: Shape) -> None:
        if not run.full:
            head = next(iter(run.lines[shape].values()))
            heappush(self._heads.setdefault(shape, []), (run.turn, head.number, number))

    def _show_all(self, number: int, run: _Run) -> None:
        for shape in run.lines:
            self._show(number, run, shape)

    def _head(self, shape: Shape) -> tuple[int, int, int] | None:
        """The first of a shape; what is so no more is thrown away."""
        heads = self._heads[shape]
        while heads:
            turn, number, key = heads[0]
            run = self._runs.get(key)
            line = None if run is None or run.full or run.turn != turn else run.lines.get(shape)
            if line and next(iter(line.values())).number == number:
                return heads[0]
            heappop(heads)
        del self._heads[shape]
        return None
