"""What an attempt is to be: read from its TaskAction, with the plugin that carries it out, or why there is none."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from flyteidl2.core import tasks_pb2
from google.protobuf.message import DecodeError

from alula.core.errors import Invalid, Unavailable
from alula.core.taskaction import Cause, Request
from alula.core.taskspec import labels, read_request
from alula.core.taskstatus import read_state
from alula.kube.objects import Object
from alula.manager.plugins.base import BadTask, Plugin, Remote, Task
from alula.manager.podspec.settings import PodSettings
from alula.manager.remote.templates import Fetch
from alula.manager.step import unknown_type

_log = logging.getLogger(__name__)
_INVALID, _BROKEN = "InvalidSpec", "PluginFailed"
_CONDITION = "conditions are settled by the control plane, from its own rows: a cluster has nothing to do with one"

Templates = Callable[[str], Mapping[str, Object]]  # the PodTemplates of a namespace


@dataclass(frozen=True, slots=True)
class Plan:
    """An attempt that can be carried out: ``task`` by ``plugin``, or by ``remote``; or ``problem``, why it cannot.

    ``waits``: why it is not known yet which of these it is. ``request`` is missing if not even that can be read.
    """

    request: Request | None = None
    plugin: Plugin | None = None
    task: Task | None = None
    problem: Cause | None = None
    remote: Remote | None = None
    waits: str = ""

    @property
    def attempt(self) -> int:
        """The number of the attempt, as far as it is known."""
        return self.request.attempt if self.request else 0

    @property
    def labels(self) -> Mapping[str, str]:
        """What all of its objects are found by."""
        return labels(self.request) if self.request else {}


@dataclass(frozen=True, slots=True)
class Choice:
    """All plugins: those for objects of the cluster by their types, and those that say themselves what they are for."""

    plugins: Mapping[str, Plugin]
    remotes: Sequence[Remote] = field(default=())

    async def remote(self, task: Task) -> Remote | None:
        """The first that knows such a task.

        Raises:
            Unavailable: none does, and some cannot say.
        """
        silent: Unavailable | None = None
        for one in self.remotes:
            try:
                if await one.knows(task):
                    return one
            except Unavailable as error:
                silent = error
        if silent is not None:
            raise silent
        return None


class Plans:
    """Makes plans with the plugins that there are. ``fetch`` reads a template that is too large for its TaskAction."""

    def __init__(self, choice: Choice, settings: PodSettings, templates: Templates, fetch: Fetch) -> None:
        self._choice = choice
        self._settings = settings
        self._templates = templates
        self._fetch = fetch

    def are_far(self, action: Object) -> bool:
        """Whether to make a plan others have to be asked than the cluster, who may be slow."""
        spec = action.get("spec") or {}
        return "taskTemplateUri" in spec or spec.get("taskType") not in self._choice.plugins

    async def of(self, action: Object) -> Plan:
        """The plan for a TaskAction."""
        if (action.get("spec") or {}).get("actionType") == "condition":
            return Plan(problem=_invalid(_CONDITION))
        try:
            request = read_request(action)
        except ValueError as error:
            return Plan(problem=_invalid(str(error)))
        plugin = self._choice.plugins.get(request.task_type)
        try:
            task = await self._task(request, action["metadata"].get("namespace", ""))
        except Unavailable as error:
            return Plan(request, plugin, waits=str(error))
        except DecodeError:
            return Plan(request, plugin, problem=_invalid("its template is no TaskTemplate"))
        except Invalid as error:
            return Plan(request, plugin, problem=_invalid(str(error)))
        return await self._elsewhere(request, task, action) if plugin is None else Plan(request, plugin, task)

    async def _elsewhere(self, request: Request, task: Task, action: Object) -> Plan:
        """A plan for a job. Of one that has begun it is known that there is a plugin, whoever answers now."""
        try:
            remote = await self._choice.remote(task)
        except Unavailable as error:
            return Plan(request, task=task, waits=str(error))
        if remote is not None:
            return Plan(request, task=task, remote=remote)
        state = read_state(action.get("status") or {})
        if state is not None and state.handle:
            return Plan(request, task=task, waits=f"nobody is there any more for tasks of type {request.task_type!r}")
        return Plan(request, problem=unknown_type(request.task_type, self._choice.plugins))

    async def _task(self, request: Request, namespace: str) -> Task:
        body = request.template
        if not body:
            if not request.template_uri:
                raise Invalid("it has no template")
            body = await self._fetch(request.template_uri, request.template_digest)
        template = tasks_pb2.TaskTemplate.FromString(body)
        return Task(request, template, namespace, self._settings, self._templates(namespace))


def built(plan: Plan) -> Object | Cause:
    """The object of an attempt, as its plugin makes it; or why it makes none."""
    plugin, task = plan.plugin, plan.task
    assert plugin is not None, "a plan without a plugin has a problem"
    assert task is not None, "a plan without a task has a problem"
    try:
        return plugin.build(task)
    except BadTask as error:
        return Cause(error.code, str(error), recoverable=False)
    except Exception as error:
        _log.exception("the plugin of %s cannot build %s", task.request.task_type, task.request.name)
        text = f"the plugin for tasks of type {task.request.task_type} failed: {type(error).__name__}: {error}"
        return Cause(_BROKEN, text, recoverable=False)


def _invalid(text: str) -> Cause:
    return Cause(_INVALID, f"the TaskAction cannot be read: {text}", recoverable=False)
