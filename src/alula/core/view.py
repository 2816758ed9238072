"""What a filter shows of a run's actions, in the order in which they changed last: many watchers read one view.

Each change of an action gives it a new stamp. A watcher remembers the stamp it has read up to; so one that is slow
finds each action once, as it is then, and costs nothing while it waits.
"""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field

from alula.core.phase import Phase
from alula.core.tree import Tree

_SLACK = 1024  # stamps that may be out of date before they are thrown away


@dataclass(frozen=True, slots=True)
class Sieve:
    """A filter. An action passes if its phase is in each of the sets, and its title has each of the parts."""

    phases: tuple[frozenset[Phase], ...] = ()
    parts: tuple[str, ...] = ()  # in lower case

    def passes(self, phase: Phase, title: str) -> bool:
        return all(phase in some for some in self.phases) and all(part in title.lower() for part in self.parts)


_ALL = Sieve()


@dataclass(slots=True)
class View:
    """The actions that pass a sieve, and those with such an action somewhere below them."""

    sieve: Sieve
    stamp: int = 0  # of the last change
    _matching: Tree[bool] = field(default_factory=lambda: Tree[bool]())
    _shown: set[str] = field(default_factory=set)
    _log: list[tuple[int, str]] = field(default_factory=list)  # in the order of stamps
    _latest: dict[str, int] = field(default_factory=dict)

    def update(self, name: str, parent: str | None, phase: Phase, title: str, touched: Iterable[str]) -> None:
        """An action is as given now; of those ``touched``, its ancestors, the counts have changed."""
        if self.sieve == _ALL:
            for each in (name, *touched):
                self._tell(each)
            return
        changed = self._matching.update(name, parent, self.sieve.passes(phase, title))
        for each in {name: None} | dict.fromkeys(touched) | dict.fromkeys(changed):
            self._look(each)

    def after(self, stamp: int, limit: int, began: int = 0) -> tuple[list[tuple[str, bool]], int]:
        """The actions that changed after a stamp and whether they are shown, at most ``limit``; and where to go on.

        One that is not shown any more is told of once; not at all to a watcher that ``began`` after that.
        """
        found: list[tuple[str, bool]] = []
        for at in range(bisect_right(self._log, stamp, key=lambda entry: entry[0]), len(self._log)):
            stamp, name = self._log[at]
            shown = self.sieve == _ALL or name in self._shown
            if self._latest[name] == stamp and (shown or stamp > began):
                found.append((name, shown))
                if len(found) == limit:
                    break
        return found, stamp

    def _look(self, name: str) -> None:
        kind = self._matching.kind(name)
        if kind is None:
            return  # only its children are known yet
        if kind or self._matching.below(name).get(True):
            self._shown.add(name)
        elif name in self._shown:
            self._shown.discard(name)
        else:
            return
        self._tell(name)

    def _tell(self, name: str) -> None:
        self.stamp += 1
        self._latest[name] = self.stamp
        self._log.append((self.stamp, name))
        if len(self._log) > 2 * len(self._latest) + _SLACK:
            self._log = [entry for entry in self._log if self._latest[entry[1]] == entry[0]]
