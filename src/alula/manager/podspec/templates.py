"""PodTemplates: the pod that others start from (executor.md 5.7)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from alula.kube.objects import Object
from alula.manager.plugins.base import BadTask, Task
from alula.manager.podspec.plain import merged
from alula.manager.podspec.target import Draft

_DEFAULT, _PRIMARY = "default", "primary"  # names in a template that stand for all containers, and for the primary one
_SUFFIX = "-init"  # to the same of init containers

Container = dict[str, Any]


def chosen(task: Task) -> Object | None:
    """The PodTemplate of a task: the one that it names, else the administrator's, if that is in its namespace.

    Raises:
        BadTask: there is none of the name that the task says.
    """
    name = task.template.metadata.pod_template_name
    if name and name not in task.templates:
        raise BadTask(f"the task names the PodTemplate {name!r}; the namespace {task.namespace!r} has no such one")
    return task.templates.get(name or task.settings.template)


def based(draft: Draft, template: Object) -> Draft:
    """A task's pod on the base of a template. What the task says goes before what the template says.

    A template's container ``default`` is the base of every container and ``primary`` that of the primary one, on top
    of it; ``default-init`` and ``primary-init`` (for the first) are those of init containers. Others are the base of
    the task's containers of the same names. Those that have no such counterpart join the pod: init containers as they
    are, before the task's; the others as sidecars proper (init containers with ``restartPolicy: Always``). They start
    before the task, end with it, and never decide how it ended, nor keep a pod that is done.
    """
    whole = template.get("template") or {}
    spec, meta = whole.get("spec") or {}, whole.get("metadata") or {}
    main = _joined(spec.get("containers") or (), draft.containers, draft.primary)
    first = draft.init_containers[0]["name"] if draft.init_containers else ""
    init = _joined(spec.get("initContainers") or (), draft.init_containers, first, _SUFFIX)
    taken = {one["name"] for one in (*main, *init)}
    beside = [{**one, "restartPolicy": "Always"} for one in _others(spec.get("containers") or (), taken)]
    before = _others(spec.get("initContainers") or (), taken, _SUFFIX)
    found = merged(spec, draft.spec) | {"containers": main, "initContainers": [*before, *beside, *init]}
    return Draft(
        {key: value for key, value in found.items() if value != []},
        draft.primary,
        {**(meta.get("labels") or {}), **draft.labels},
        {**(meta.get("annotations") or {}), **draft.annotations},
    )


def _joined(
    bases: Iterable[Container], containers: Sequence[Container], primary: str, suffix: str = ""
) -> list[Container]:
    named = {one["name"]: one for one in bases}
    for_all, for_primary = named.get(_DEFAULT + suffix, {}), named.get(_PRIMARY + suffix, {})
    found = []
    for one in containers:
        name = one["name"]
        base = merged(for_all, for_primary) if name == primary else for_all
        if name not in (_DEFAULT + suffix, _PRIMARY + suffix):
            base = merged(base, named.get(name, {}))
        found.append(merged(base, one))
    return found


def _others(bases: Iterable[Container], taken: set[str], suffix: str = "") -> list[Container]:
    magic = {_DEFAULT + suffix, _PRIMARY + suffix}
    return [dict(one) for one in bases if one["name"] not in taken | magic]


def overlaid(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """A pod's spec with what another says on top of it: containers by their names, those that are new behind."""
    found = merged(base, over)
    for key in ("containers", "initContainers"):
        named: dict[str, Container] = {one["name"]: one for one in base.get(key) or ()}
        for one in over.get(key) or ():
            named[one["name"]] = merged(named.get(one["name"], {}), one)
        if named:
            found[key] = list(named.values())
    return found
