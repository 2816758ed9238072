"""A deployed task. Values only."""

from dataclasses import dataclass
from datetime import datetime

from alula.core.ids import TaskId


@dataclass(frozen=True, slots=True)
class Task:
    """A row of `tasks`. ``spec`` is the digest of its TaskSpec."""

    id: TaskId
    org: str
    short_name: str
    environment: str
    description: str
    entrypoint: bool
    spec: bytes
    deployed_at: datetime


@dataclass(frozen=True, slots=True)
class TaskScope:
    """Which tasks a list is about; "" means any."""

    project: str = ""
    domain: str = ""
    name: str = ""
    entrypoint: bool | None = None
