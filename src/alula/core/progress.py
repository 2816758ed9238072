"""One step of an action: the row before, the row after, and what happened in between."""

from dataclasses import replace
from typing import NamedTuple

from alula.core.action import Action, Event


class Progress(NamedTuple):
    """``new`` is the row after the step but for its version, which is ``version``, and its seq: that is not known yet.

    ``noted``: it is no step; something was only told (notes, a late report).
    """

    old: Action
    new: Action
    happened: tuple[Event, ...]
    noted: bool = False

    @property
    def version(self) -> int:
        """It counts what happened, in each attempt from 0: who holds an older one has to look again."""
        version = self.old.version if self.noted or self.new.attempt == self.old.attempt else 0
        for event in () if self.noted else self.happened:
            version = version + 1 if event.attempt == self.old.attempt else 0
        return version

    @property
    def after(self) -> Action:
        """The row as the next step finds it."""
        return replace(self.new, version=self.version)

    @property
    def moved(self) -> bool:
        """Whether the action is in another phase now, or in another attempt."""
        return (self.new.phase, self.new.attempt) != (self.old.phase, self.old.attempt)
