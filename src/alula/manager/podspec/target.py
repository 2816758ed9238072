"""What a task says of its pod: its container, or a pod of its own (executor.md 4.1, 5.1)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from flyteidl2.core import tasks_pb2
from lightkube.models.core_v1 import PodSpec

from alula.manager.plugins.base import BadTask
from alula.manager.podspec.plain import merged, plain
from alula.manager.podspec.resources import resources

PRIMARY = "primary"  # the container of a task that names none
_CONTAINERS = "containers", "initContainers"
_NAME = "primary_container_name"  # in a task's config


@dataclass(slots=True)
class Draft:
    """A pod in the making. ``primary`` names the container that the task is about, which it has."""

    spec: dict[str, Any]
    primary: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def containers(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.spec["containers"]
        return found

    @property
    def init_containers(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.spec.setdefault("initContainers", [])
        return found

    @property
    def main(self) -> dict[str, Any]:
        return next(one for one in self.containers if one["name"] == self.primary)


def draft(template: tasks_pb2.TaskTemplate, gpu: str) -> Draft:
    """The pod that a task asks for. ``gpu`` is the resource that its GPUs are.

    Raises:
        BadTask: it asks for none, or for one without its primary container.
    """
    match template.WhichOneof("target"):
        case "container":
            found = Draft({"containers": [_container(template.container, gpu)]}, PRIMARY)
        case "k8s_pod":
            found = from_pod(template.k8s_pod, template.config.get(_NAME, ""))
        case _ if template.type == "sidecar":
            found = _sidecar(template)
        case _:
            raise BadTask(f"the task {template.id.name} of type {template.type!r} has neither a container nor a pod")
    said = template.metadata.metadata
    found.labels, found.annotations = {**said.labels, **found.labels}, {**said.annotations, **found.annotations}
    return found


def from_pod(pod: tasks_pb2.K8sPod, primary: str = "") -> Draft:
    """A pod as a task, or a role of it, spells it out. ``primary``, if the pod itself does not name it."""
    name = pod.primary_container_name or primary
    found = checked(plain(pod.pod_spec), name)
    return Draft(found, name, dict(pod.metadata.labels), dict(pod.metadata.annotations))


def checked(spec: dict[str, Any], primary: str) -> dict[str, Any]:
    """A spec of which the rest of this package may expect that it is one.

    Raises:
        BadTask: it is none, or lacks its primary container.
    """
    if not primary:
        raise BadTask("the task's pod does not say which container is its primary one: set primary_container_name")
    spec = _said(spec)
    try:
        msgspec.convert({**spec, **{key: _sizeless(spec.get(key)) for key in _CONTAINERS if key in spec}}, PodSpec)
    except msgspec.ValidationError as error:
        raise BadTask(f"the task's pod: {error}") from None
    names = [one["name"] for key in _CONTAINERS for one in spec.get(key, ())]
    if not all(names) or len(set(names)) < len(names):
        raise BadTask(f"the task's pod: each container needs a name of its own; they are called {names}")
    if primary not in [one["name"] for one in spec["containers"]]:
        raise BadTask(f"the task's pod has no container named {primary!r}", code="PrimaryContainerNotFound")
    return spec


def _said(value: Any) -> Any:
    """The value without what is null: that is as if it was not there."""
    match value:
        case dict():
            return {key: _said(item) for key, item in value.items() if item is not None}
        case list():
            return [_said(item) for item in value]
        case _:
            return value


def _sizeless(containers: Any) -> Any:
    """Containers without their resources: those may be numbers, too, which the types of the API are stricter about."""
    if not isinstance(containers, list) or not all(isinstance(one, dict) for one in containers):
        return containers
    return [{key: value for key, value in one.items() if key != "resources"} for one in containers]


def _sidecar(template: tasks_pb2.TaskTemplate) -> Draft:
    """The older forms: all of it in ``custom`` (version 0), or the spec alone (version 1)."""
    custom = plain(template.custom)
    if template.task_type_version >= 2:
        raise BadTask(f"the task {template.id.name} is to have a pod (k8s_pod), and has none")
    if template.task_type_version == 1:
        name = template.config.get(_NAME, "")
        return Draft(checked(custom, name), name)
    name = str(custom.get("primaryContainerName", ""))
    spec = custom.get("podSpec")
    if not isinstance(spec, dict):
        raise BadTask(f"the task {template.id.name} has no podSpec")
    return Draft(checked(spec, name), name, custom.get("labels") or {}, custom.get("annotations") or {})


def _container(container: tasks_pb2.Container, gpu: str) -> dict[str, Any]:
    if not container.image:
        raise BadTask("the task's container has no image")
    said = {
        "name": PRIMARY,
        "image": container.image,
        "command": list(container.command),
        "args": list(container.args),
        "ports": [_port(port) for port in container.ports],
        "env": [{"name": pair.key, "value": pair.value} for pair in container.env],
        "resources": resources(container.resources, gpu),
    }
    return {key: value for key, value in said.items() if value}


def _port(port: tasks_pb2.ContainerPort) -> dict[str, Any]:
    return merged({"containerPort": port.container_port}, {"name": port.name} if port.name else {})
