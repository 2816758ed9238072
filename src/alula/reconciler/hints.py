"""Which actions to look at next."""

from alula.base import hints

Key = tuple[int, str]  # run, action
Hints = hints.Hints[Key]
