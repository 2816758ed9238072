"""From an attempt to the pod that it is, or to the pods that its roles are (executor.md 5)."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flyteidl2.core import tasks_pb2

from alula.core.naming import attempt_label
from alula.core.taskaction import ATTEMPT, MANAGED, Request
from alula.kube.objects import Object
from alula.manager.plugins.base import Task
from alula.manager.podspec import copilot, environment, placement, shared, templates
from alula.manager.podspec.plain import copied, merged
from alula.manager.podspec.resources import clamped, completed, resources
from alula.manager.podspec.statuses import PRIMARY_ANNOTATION
from alula.manager.podspec.target import Draft, draft, from_pod

_EVICTABLE = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}
_ORGANIZATION = "flyte"
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")
_LONGEST = 63  # characters of a label's value
Spec = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Role:
    """What is different for the pods of one part of a task (a head, its workers) from the task's own pod.

    ``container`` renames the primary container. ``pod`` is laid over the task's own: what it says of its primary
    container is said of the role's. ``resources``, ``image`` and ``extended`` take the place of the task's.
    ``interruptible``: whether its nodes may be taken away; ``None``: as the task says.
    """

    container: str = ""
    pod: tasks_pb2.K8sPod | None = None
    image: str = ""
    resources: tasks_pb2.Resources | None = None
    extended: tasks_pb2.ExtendedResources | None = None
    interruptible: bool | None = None


WHOLE = Role()  # a task that is one pod


def pod(task: Task) -> Object:
    """The pod of an attempt.

    Raises:
        BadTask: its task cannot be one.
    """
    made = pod_template(task)
    made["metadata"]["name"] = task.request.name
    made["spec"]["restartPolicy"] = "Never"  # an attempt runs at most once, whatever its task says
    return {"apiVersion": "v1", "kind": "Pod", **made}


def pod_spec(task: Task, role: Role = WHOLE) -> Spec:
    """The ``spec`` of `pod_template`."""
    spec: Spec = pod_template(task, role)["spec"]
    return spec


def pod_template(task: Task, role: Role = WHOLE) -> Spec:
    """``metadata`` and ``spec`` of the pods of an attempt, or of one of its roles: plain values, the caller's own.

    Values stand in this order: what the role says, what the task says, what its PodTemplate says, what the
    administrator says.

    Raises:
        BadTask: the task, or the role, asks for what cannot be.
    """
    asked, settings, request = role.extended or task.template.extended_resources, task.settings, task.request
    device = placement.accelerator(asked, settings)
    made = _drafted(task, role, device.resource)
    _equip(made, task)
    if role == WHOLE:
        made = copilot.added(made, task)
    template = templates.chosen(task)
    if template is not None:
        made = templates.based(made, template)
    made.spec = _measured(made, settings.resources)
    if asked.HasField("shared_memory"):
        shared.add(made, asked.shared_memory)
    spec = placement.placed(made.spec, settings, device, interruptible=_interruptible(task, role))
    marks = _labels(task) | placement.partition_label(device) | {MANAGED: "true", ATTEMPT: attempt_label(request.name)}
    notes = {**_EVICTABLE, **settings.annotations, **made.annotations, **request.annotations}
    found: Spec = copied(
        {
            "metadata": {
                "labels": {**settings.labels, **made.labels, **request.labels, **marks},
                "annotations": {**notes, **copilot.notes(task), PRIMARY_ANNOTATION: made.primary},
            },
            "spec": _settled(spec, task),
        }
    )
    return found


def _interruptible(task: Task, role: Role) -> bool:
    """Whether a node that may be taken away will do: if role, task or run say so, but not for the last try."""
    asked = task.template.metadata.interruptible or task.request.interruptible
    return (asked if role.interruptible is None else role.interruptible) and not task.request.last


def _drafted(task: Task, role: Role, gpu: str) -> Draft:
    made = draft(task.template, gpu)
    if role.container:
        made.main["name"] = made.primary = role.container
    if role.pod is not None:
        over = from_pod(role.pod, made.primary)
        over.main["name"] = made.primary
        made.spec = templates.overlaid(made.spec, over.spec)
        made.labels, made.annotations = {**made.labels, **over.labels}, {**made.annotations, **over.annotations}
    if role.image:
        made.main["image"] = role.image
    if task.request.service_account:
        made.spec.setdefault("serviceAccountName", task.request.service_account)
    if role.resources is not None:
        made.main["resources"] = resources(role.resources, gpu)
    return made


def _equip(made: Draft, task: Task) -> None:
    """Give every container its variables and secrets."""
    request, settings, main = task.request, task.settings, made.main
    own = main.setdefault("env", [])
    for containers in (made.containers, made.init_containers):
        containers[:] = [environment.equip(one, request, settings, own) for one in containers]
    if request.secret_files:
        made.spec = merged(made.spec, {"volumes": [environment.volume(request)]})


def _measured(made: Draft, defaults: Mapping[str, str]) -> Spec:
    """The spec with its containers' resources complete (the primary one's) and possible (all others')."""

    def sized(one: Spec) -> Spec:
        said = one.get("resources") or {}
        if one["name"] == made.primary:
            return {**one, "resources": completed(said, defaults)}
        return {**one, "resources": clamped(said)} if said else one

    found = {key: [sized(one) for one in made.spec.get(key, ())] for key in ("initContainers", "containers")}
    return {key: value for key, value in {**made.spec, **found}.items() if value != []}


def _settled(spec: Spec, task: Task) -> Spec:
    """The spec with the administrator's values where nothing else is said, and what is always so.

    Credentials of registries are all of them: a kubelet tries one after the other.
    """
    settings, request = task.settings, task.request
    usual = {
        "serviceAccountName": settings.service_account,
        "schedulerName": settings.scheduler,
        "securityContext": settings.security_context,
        "hostNetwork": settings.host_network,
    }
    pulls = [*(spec.get("imagePullSecrets") or ()), *({"name": name} for name in settings.image_pull_secrets)]
    always = {"restartPolicy": "Never", "enableServiceLinks": False}
    grace = {"terminationGracePeriodSeconds": math.ceil(request.grace)}
    found = {**always, **grace, **{key: value for key, value in usual.items() if value}, **spec}
    return found | ({"imagePullSecrets": list({one["name"]: one for one in pulls}.values())} if pulls else {})


def _labels(task: Task) -> dict[str, str]:
    """The labels that upstream gives to pods (executor.md 5.9)."""
    request: Request = task.request
    said = {
        "organization": _ORGANIZATION,
        "project": request.project,
        "domain": request.domain,
        "run": request.run,
        "action": request.action,
        "attempt": str(request.attempt),
        "task-name": task.template.id.name,
    }
    return {key: value for key, value in ((key, _label(value)) for key, value in said.items()) if value}


def _label(value: str) -> str:
    return _UNSAFE.sub("-", value)[:_LONGEST].strip("-_.")
