"""Tasks that are one pod: containers, Python, raw containers, and pods as a task spells them out (executor.md 4.1)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from alula.core.taskaction import Link, Stage, State
from alula.core.taskspec import POD_TYPES
from alula.kube.objects import PODS, Kind, Object
from alula.manager.jobspec.links import link
from alula.manager.plugins.base import Seen, Task
from alula.manager.podspec import build, observe


class PodPlugin:
    """The pod is the object itself; it has no parts."""

    # "actor": here each has a pod of its own, which costs time and changes nothing else.
    types: Sequence[str] = POD_TYPES
    kind: Kind = PODS
    parts: Sequence[Kind] = ()

    def build(self, task: Task) -> Object:
        """See `Plugin.build`."""
        return build.pod(task)

    def observe(self, task: Task, found: Object, parts: Sequence[Object], now: datetime) -> Seen:
        """See `Plugin.observe`."""
        seen = _of_ours(task, observe.observe(found, task.settings, now))
        return replace(seen, state=replace(seen.state, links=tuple(_links(task, found, seen.state))))


def _of_ours(task: Task, seen: Seen) -> Seen:
    """A pod whose Secret of alula's is gone is no fault of its task: the next attempt has another one."""
    cause, secret = seen.state.cause, task.request.secret
    if cause is None or not secret or f'secret "{secret}" not found' not in cause.message:
        return seen
    return replace(seen, state=replace(seen.state, cause=replace(cause, system=True, recoverable=True)))


def _links(task: Task, pod: Object, state: State) -> Iterator[Link]:
    """Where the pod's log is found elsewhere, as the task and the administrator say. A pod without a node has none."""
    if state.stage in (Stage.QUEUED, Stage.WAITING):
        return
    told = [(one.name, one.uri) for one in task.template.metadata.log_links]
    templates = (*told, *task.settings.log_links)
    values = _values(task, pod, state) if templates else {}
    for name, template in templates:
        yield from link(name, template, values)


def _values(task: Task, pod: Object, state: State) -> Mapping[str, str]:
    """The variables of upstream's templates (executor.md 4.10)."""
    request, name = task.request, task.template.id
    (mine,) = state.pods
    times = {"Start": state.started_at, "Finish": state.ended_at}
    return {
        "podName": mine.name,
        "podUID": pod["metadata"].get("uid", ""),
        "namespace": mine.namespace,
        "containerName": mine.primary,
        "containerID": _container_id(pod, mine.primary),
        "hostname": (pod.get("spec") or {}).get("nodeName", ""),
        "logName": "main",
        "generatedName": request.name,
        "runName": request.run,
        "executionName": request.run,
        "executionProject": request.project,
        "executionDomain": request.domain,
        "actionName": request.action,
        "taskID": name.name,
        "taskVersion": name.version,
        "taskProject": name.project,
        "taskDomain": name.domain,
        "taskRetryAttempt": str(request.attempt - 1),
        **{f"podUnix{what}Time": str(int(at.timestamp())) for what, at in times.items() if at},
        **{f"podRFC3339{what}Time": at.isoformat().replace("+00:00", "Z") for what, at in times.items() if at},
    }


def _container_id(pod: Object, name: str) -> str:
    """What its runtime calls a container, without the runtime's own name (``containerd://``)."""
    told = (pod.get("status") or {}).get("containerStatuses") or ()
    found = next((one.get("containerID") or "" for one in told if one["name"] == name), "")
    return str(found).rpartition("://")[2]
