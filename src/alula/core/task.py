"""A deployed task. Values only."""

from dataclasses import dataclass
from datetime import datetime

from alula.core.ids import RunId, TaskId
from alula.core.phase import Phase
from alula.core.trigger import Trigger


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
    deployed_by: str = ""


@dataclass(frozen=True, slots=True)
class LatestRun:
    """The run of a task that was created last."""

    id: RunId
    at: datetime
    phase: Phase
    task: str


@dataclass(frozen=True, slots=True)
class Listed:
    """A task as lists show it."""

    task: Task
    triggers: tuple[Trigger, ...] = ()
    latest: LatestRun | None = None


@dataclass(frozen=True, slots=True)
class TaskScope:
    """Which tasks a list is about; "" means any."""

    project: str = ""
    domain: str = ""
    name: str = ""
    entrypoint: bool | None = None
    deployed_by: str = ""
