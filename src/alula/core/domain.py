"""A domain: a partition that every project has. Values only."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Domain:
    """A row of `domains`; ``title`` is what people call it."""

    name: str
    title: str
    created_at: datetime
