"""What an attempt is to be: read from its TaskAction, with the plugin that carries it out, or why there is none."""

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from flyteidl2.core import tasks_pb2
from google.protobuf.message import DecodeError

from alula.core.errors import Invalid
from alula.core.taskaction import Cause, Request
from alula.core.taskspec import labels, read_request
from alula.kube.objects import Object
from alula.manager.plugins.base import BadTask, Plugin, Task
from alula.manager.podspec.settings import PodSettings
from alula.manager.step import unknown_type

_log = logging.getLogger(__name__)
_FETCHED = 64  # templates kept elsewhere that are remembered
_INVALID, _BROKEN = "InvalidSpec", "PluginFailed"

Fetch = Callable[[str], Awaitable[bytes]]
Templates = Callable[[str], Mapping[str, Object]]  # the PodTemplates of a namespace


@dataclass(frozen=True, slots=True)
class Plan:
    """An attempt that can be carried out: ``task`` by ``plugin``; or ``problem``, why it cannot.

    ``request`` is missing if not even that can be read.
    """

    request: Request | None = None
    plugin: Plugin | None = None
    task: Task | None = None
    problem: Cause | None = None

    @property
    def attempt(self) -> int:
        """The number of the attempt, as far as it is known."""
        return self.request.attempt if self.request else 0

    @property
    def labels(self) -> Mapping[str, str]:
        """What all of its objects are found by."""
        return labels(self.request) if self.request else {}


class Plans:
    """Makes plans with the plugins that there are. ``fetch`` reads a template that is too large for its TaskAction."""

    def __init__(
        self, plugins: Mapping[str, Plugin], settings: PodSettings, templates: Templates, fetch: Fetch
    ) -> None:
        self._plugins = plugins
        self._settings = settings
        self._templates = templates
        self._fetch = fetch
        self._fetched: OrderedDict[str, bytes] = OrderedDict()

    async def of(self, action: Object) -> Plan:
        """The plan for a TaskAction.

        Raises:
            Unavailable: its template is kept elsewhere, and cannot be read now.
        """
        try:
            request = read_request(action)
        except ValueError as error:
            return Plan(problem=_invalid(str(error)))
        plugin = self._plugins.get(request.task_type)
        if plugin is None:
            return Plan(request, problem=unknown_type(request.task_type, self._plugins))
        try:
            template = tasks_pb2.TaskTemplate.FromString(request.template or await self._elsewhere(request))
        except DecodeError:
            return Plan(request, problem=_invalid("its template is no TaskTemplate"))
        except Invalid as error:
            return Plan(request, problem=_invalid(str(error)))
        namespace = action["metadata"].get("namespace", "")
        task = Task(request, template, namespace, self._settings, self._templates(namespace))
        return Plan(request, plugin, task)

    async def _elsewhere(self, request: Request) -> bytes:
        uri = request.template_uri
        if not uri:
            raise Invalid("it has no template")
        if uri not in self._fetched:
            self._fetched[uri] = await self._fetch(uri)
            if len(self._fetched) > _FETCHED:
                self._fetched.popitem(last=False)
        return self._fetched[uri]


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
