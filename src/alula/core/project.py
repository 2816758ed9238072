"""A project. Values only."""

from collections.abc import Mapping
from dataclasses import dataclass

ARCHIVED = 1  # project.ProjectState


@dataclass(frozen=True, slots=True)
class Project:
    """A row of `projects`; ``name`` is its identifier, ``title`` what people call it."""

    name: str
    title: str
    description: str
    labels: Mapping[str, str]
    state: int
