"""What is kept, and for how long. Values only."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import timedelta

EVERY_PROJECT = "*"


@dataclass(frozen=True, slots=True)
class Removed:
    """What went."""

    runs: int = 0
    actions: int = 0
    events: int = 0
    objects: int = 0
    bytes: int = 0
    logs: int = 0
    cached: int = 0

    def __add__(self, other: "Removed") -> "Removed":
        return Removed(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


def age_of(project: str, ages: Mapping[str, timedelta]) -> timedelta | None:
    """How long the ended runs of a project are kept; ``None``: for ever. ``*`` speaks for the projects not named."""
    return ages.get(project, ages.get(EVERY_PROJECT))
