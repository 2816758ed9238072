"""The promise of a plugin: one type of task, as objects of a cluster and back. Both ways are pure functions.

A plugin of a user's own is an object of this form, named by an entry point of the group ``alula.plugins``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from flyteidl2.core import tasks_pb2
from google.protobuf.json_format import MessageToDict

from alula.core.taskaction import Request, State
from alula.kube.objects import Kind, Object
from alula.manager.podspec.settings import PodSettings


@dataclass(frozen=True, slots=True)
class Task:
    """One attempt that is to exist. ``templates``: the PodTemplates of its namespace, by name."""

    request: Request
    template: tasks_pb2.TaskTemplate
    namespace: str
    settings: PodSettings
    templates: Mapping[str, Object] = field(default_factory=dict)

    def custom(self) -> dict[str, Any]:
        """The task's own part of the template, as plain values."""
        found: dict[str, Any] = MessageToDict(self.template.custom)
        return found


class BadTask(Exception):
    """A task of which nothing can be made. The text is for its author."""

    def __init__(self, message: str, code: str = "BadTaskSpecification") -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Seen:
    """What is to be seen of an attempt now. ``look_again``: when that changes by the clock alone, if it does."""

    state: State
    look_again: datetime | None = None


class Plugin(Protocol):
    """``types``: the task types it carries out. ``kind``: of the object it builds; ``parts``: what that is made of."""

    @property
    def types(self) -> Sequence[str]: ...

    @property
    def kind(self) -> Kind: ...

    @property
    def parts(self) -> Sequence[Kind]:
        """Kinds that the object's own controller makes for it, pods mostly; they bear the object's labels."""
        ...

    def build(self, task: Task) -> Object:
        """The object of an attempt. Its owner, its namespace and our labels are added by the Manager.

        Raises:
            BadTask: the task is not one that this plugin can carry out.
        """
        ...

    def observe(self, task: Task, found: Object, parts: Sequence[Object], now: datetime) -> Seen:
        """What the object, which exists, and its parts tell of the attempt."""
        ...
