"""Runs that are orchestrated elsewhere: what their clients report of them. Values only."""

from dataclasses import dataclass
from datetime import datetime

from alula.core.action import Event, Kind, TaskRef
from alula.core.ids import ActionId


@dataclass(frozen=True, slots=True)
class Introduction:
    """An action as its first report describes it; later ones do not change that."""

    parent: str
    kind: Kind
    group: str
    spec: bytes  # serialised task.TaskSpec or task.TraceSpec
    task: TaskRef
    began: datetime | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What a client tells of one action."""

    action: ActionId
    event: Event
    introduction: Introduction
