"""What a server is told when it is started."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

DOMAINS = ("development", "staging", "production")


@dataclass(frozen=True, slots=True)
class Settings:
    """One server.

    ``home`` holds everything it keeps. ``ports`` are all served alike, on the loopback interface. ``create_missing``
    makes a project when a run first names it. ``slots`` is how many attempts run at once; parents that wait for their
    children do not count.
    """

    home: Path
    ports: tuple[int, ...]
    project: str
    domains: tuple[str, ...] = DOMAINS
    create_missing: bool = False
    slots: int = 16
    mode: Literal["fork", "spawn"] = "fork"
    user: str = "local"
