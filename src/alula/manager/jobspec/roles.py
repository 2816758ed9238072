"""The roles that the pods of one attempt have: a head and its workers, a driver and its executors."""

from collections.abc import Iterable
from typing import Any

from alula.core.naming import attempt_label
from alula.core.taskaction import ATTEMPT
from alula.kube.objects import Object, labels_of
from alula.manager.plugins.base import Task
from alula.manager.podspec.build import Role, pod_template
from alula.manager.podspec.statuses import PRIMARY_ANNOTATION

ROLE = "flyte.org/role"  # a label of each pod
Spec = dict[str, Any]


def template(task: Task, name: str, role: Role) -> Spec:
    """``metadata`` and ``spec`` of the pods of a role, whose label says which they are of.

    Raises:
        BadTask: see `pod_template`.
    """
    made = pod_template(task, role)
    made["metadata"]["labels"][ROLE] = name
    return made


def main(made: Spec) -> Spec:
    """The container that a role is about."""
    name = made["metadata"]["annotations"][PRIMARY_ANNOTATION]
    found: Spec = next(one for one in made["spec"]["containers"] if one["name"] == name)
    return found


def role_of(pod: Object) -> str:
    return labels_of(pod).get(ROLE, "")


def own(task: Task, parts: Iterable[Object]) -> list[Object]:
    """The pods of this attempt, whatever else was found."""
    label = attempt_label(task.request.name)
    return [pod for pod in parts if labels_of(pod).get(ATTEMPT) == label]
