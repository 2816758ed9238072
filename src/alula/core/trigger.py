"""Triggers: named ways to launch a task, and what makes them do it by themselves. Values only."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from alula.core.errors import Conflict
from alula.core.ids import TaskId


class Automation(IntEnum):
    """What fires a trigger. Numbers are those of `task.TriggerAutomationSpecType`."""

    NONE = 1  # only somebody who says so
    SCHEDULE = 2
    ARTIFACT = 3


class Step(IntEnum):
    """What brought a revision about. Numbers are those of `trigger.TriggerRevisionAction`."""

    DEPLOY = 1
    ACTIVATE = 2
    DEACTIVATE = 3
    DELETE = 4


@dataclass(frozen=True, slots=True, order=True)
class TriggerId:
    """One trigger. Its name is unique within its task's."""

    project: str
    domain: str
    task: str
    name: str

    def __str__(self) -> str:
        return f"{self.project}/{self.domain}/{self.task}/{self.name}"


@dataclass(frozen=True, slots=True)
class FiredBy:
    """Which revision of a trigger made a run; an empty name: none did. ``automation`` is what fired it."""

    task: str = ""
    name: str = ""
    revision: int = 0
    automation: bytes = b""  # serialised task.TriggerAutomationSpec


BY_NOBODY = FiredBy()


@dataclass(frozen=True, slots=True)
class NewTrigger:
    """A trigger as it is deployed."""

    id: TriggerId
    org: str
    spec: bytes  # serialised trigger.TriggerSpec; whether it is active is said below
    automation: bytes  # serialised task.TriggerAutomationSpec
    kind: Automation
    artifact: str  # the name that an artifact trigger waits for, or empty
    active: bool
    task_version: str
    description: str


@dataclass(frozen=True, slots=True)
class Trigger:
    """A row of `triggers`: the trigger as its latest revision has it, and how firing it goes.

    ``next_at`` is the time it is due next; ``bundled`` means that it came with its task's deployment, and goes with it.
    """

    key: int
    new: NewTrigger
    revision: int
    bundled: bool
    deployed_by: str
    updated_by: str
    deployed_at: datetime  # for the first time
    updated_at: datetime
    fired_at: datetime | None
    deleted_at: datetime | None
    next_at: datetime | None
    failures: int = 0  # in a row
    failure: str = ""  # why the last try to fire it failed; empty if it did not
    note: str = ""  # what was skipped last, and why

    @property
    def id(self) -> TriggerId:
        return self.new.id

    @property
    def launches(self) -> TaskId:
        """The task that it runs."""
        return TaskId(self.id.project, self.id.domain, self.id.task, self.new.task_version)


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision: the trigger as it was, and what was done."""

    trigger: Trigger
    step: Step


@dataclass(frozen=True, slots=True)
class TriggerScope:
    """Which triggers a list is about; "" means any."""

    project: str = ""
    domain: str = ""
    task: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Fire:
    """A run that a trigger owes. ``inputs`` (serialised task.Inputs) come on top of the trigger's own.

    ``key`` is that of a row to remove with it; a tick of a schedule has none.
    """

    trigger: Trigger
    at: datetime
    seed: str  # names it: the same seed is the same run
    inputs: bytes = b""
    key: int | None = None
    failures: int = 0  # to make it, in a row
    next_at: datetime | None = None  # when the schedule is due next
    note: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The versions of an artifact that fire a trigger; an empty ``version`` is any."""

    version: str
    partitions: Mapping[str, str]


def matches(wanted: Wanted, version: str, partitions: Mapping[str, str]) -> bool:
    """Whether a version of the artifact fires the trigger: of its string partitions, those named must agree."""
    if wanted.version not in ("", version):
        return False
    return all(partitions.get(key) == value for key, value in wanted.partitions.items())


def check_revision(known: Trigger | None, asked: int) -> None:
    """The optimistic lock of a deployment. 0 asks for none; a trigger that is not there may be called its first one.

    Raises:
        Conflict: the caller has seen another revision than the latest.
    """
    latest = 0 if known is None else known.revision
    if asked in (0, latest) or (asked == 1 and (known is None or known.deleted_at is not None)):
        return
    raise Conflict(
        f"revision: the latest is {latest}, and not {asked}: somebody else has changed the trigger; "
        "get it again and repeat the change"
    )
