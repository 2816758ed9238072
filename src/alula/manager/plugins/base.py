"""The promise of a plugin: one type of task, as objects of a cluster and back. Both ways are pure functions.

A plugin of a user's own is an object of this form, named by an entry point of the group ``alula.plugins``.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from flyteidl2.core import tasks_pb2
from google.protobuf.json_format import MessageToDict

from alula.core.taskaction import Cause, Request, State
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


class Unsure(Exception):
    """There was no answer: it may have been done, or not."""


class Failed(Exception):
    """What was asked for failed, and will not come to be."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause.message)
        self.cause = cause


class Store(Protocol):
    """The object store, for those who run tasks without a pod of theirs."""

    async def get(self, uri: str, *, limit: int = ...) -> bytes:
        """The whole object.

        Raises:
            NotFound: there is no such object.
            Invalid: it cannot be read, whenever it is tried.
            Exhausted: it has more than ``limit`` bytes.
            Unavailable: it cannot be read for now.
        """
        ...

    async def put(self, uri: str, data: bytes) -> None:
        """Have an object be there, in one step.

        Raises:
            Invalid: it cannot be written, whenever it is tried.
            Unavailable: it cannot be written for now.
        """
        ...


@dataclass(frozen=True, slots=True)
class Offers:
    """What a `Remote` is made with.

    ``secrets`` reads a Secret of the cluster, by its namespace and its name; what it returns is not to be kept. It
    raises `Unavailable` if it cannot be read for now. ``steady`` counts seconds, from whenever.
    """

    store: Store
    secrets: Callable[[str, str], Awaitable[Mapping[str, str]]]
    steady: Callable[[], float]


class Remote(Protocol):
    """A plugin whose attempts are no objects of the cluster: jobs of a service elsewhere, or nothing but time.

    `Unavailable` is that of `core.errors`. The Manager puts a finalizer on such TaskActions, so that `delete` is called
    whatever happens. That an attempt runs at most once rests on this: its status says that it is launched before
    `create` is called; the handle that this returns is written to the status; and what is launched without a handle, by
    a Manager that is not there any more, is lost (as after `Unsure`), unless `again` says that it can be begun again.
    """

    def again(self, task: Task) -> bool:
        """Whether `create`, called once more for an attempt, finds the job that is there, and begins no second one."""
        ...

    async def knows(self, task: Task) -> bool:
        """Whether it carries out such a task.

        Raises:
            Unavailable: it cannot say for now.
        """
        ...

    async def create(self, task: Task, now: datetime) -> bytes:
        """Have it begin. What is returned is all that is needed to find it again: some bytes, and no secret.

        Raises:
            Unavailable: it did not begin.
            Unsure: it may have begun.
            Failed: it never will.
            BadTask: the task is not one that can be carried out.
        """
        ...

    async def get(self, task: Task, handle: bytes, now: datetime) -> Seen:
        """What is to be seen of it now. Nobody tells of changes: ``look_again`` says when to ask again.

        Raises:
            Unavailable: it cannot be seen for now. That is told, and tried again for as long as it takes.
            BadTask: nothing can come of it, whatever becomes of the job: that is ended.
        """
        ...

    async def delete(self, task: Task, handle: bytes, now: datetime) -> None:
        """End it. Of one that has ended, or is not there any more, nothing is done.

        ``handle`` is empty for one that may have begun, and of which no more is known.

        Raises:
            Unavailable: try again.
            BadTask: it cannot be ended.
        """
        ...
