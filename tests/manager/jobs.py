"""Jobs of operators and their pods, for the tables of the tests of plugins."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from alula.core.naming import attempt_label
from alula.core.taskaction import ATTEMPT, Stage
from alula.kube.objects import Object
from alula.manager.jobspec.roles import ROLE
from alula.manager.plugins.base import Plugin, Seen, Task
from alula.manager.podspec.settings import PodSettings

from .cases import REQUEST, task_template
from .statuses import NOW, Status, ago, condition, ended, placed, pod, running, unplaced, waiting

NAME = "r1-a0-0123456789ab-1"
NO_IMAGE = 'rpc error: code = NotFound desc = failed to pull and unpack image "ghcr.io/shop/tasks:1": not found'
FULL = "0/3 nodes are available: 3 Insufficient cpu."


class Row(NamedTuple):
    """``code`` may be followed by ``system`` or ``for good``. ``again``: in how many seconds to look again."""

    what: str
    job: Object
    stage: Stage
    code: str = ""
    pods: Sequence[Object] = ()
    text: str = ""  # stands in the reason
    again: float | None = None
    links: Sequence[str] = ()


def job(status: Status | None = None, *, created: float = 30, spec: Status | None = None) -> Object:
    made = {"name": NAME, "namespace": "work", "creationTimestamp": ago(created)}
    return {"kind": "Job", "metadata": made, "spec": spec or {}} | ({"status": status} if status is not None else {})


def member(role: str, name: str, found: Object, *, attempt: str = REQUEST.name, restarts: str = "Never") -> Object:
    """A pod (of `statuses.pod`) as one of a job."""
    found["metadata"] |= {"name": f"{NAME}-{name}", "labels": {ROLE: role, ATTEMPT: attempt_label(attempt)}}
    found["spec"]["restartPolicy"] = restarts
    return found


def starts(role: str, name: str) -> Object:
    return member(role, name, pod("Pending", waiting("ContainerCreating"), conditions=placed()))


def runs(role: str, name: str) -> Object:
    return member(role, name, pod("Running", running()))


def ran(role: str, name: str, code: int = 0, reason: str = "", *, at: float = 5, restarts: str = "Never") -> Object:
    phase = "Succeeded" if code == 0 else "Failed"
    return member(role, name, pod(phase, ended(code, reason, f"said {code}", at=at)), restarts=restarts)


def pulls(role: str, name: str, *, since: float = 20, restarts: str = "Never") -> Object:
    """Its image cannot be pulled."""
    found = pod("Pending", waiting("ImagePullBackOff", NO_IMAGE), conditions=placed(since))
    return member(role, name, found, restarts=restarts)


def roomless(role: str, name: str) -> Object:
    return member(role, name, pod("Pending", conditions=unplaced("Unschedulable", FULL)))


def preempted(role: str, name: str) -> Object:
    done = [condition("DisruptionTarget", True, "PreemptionByScheduler", "for another", since=2)]
    return member(role, name, pod("Failed", ended(137), conditions=done))


def swept(role: str, name: str) -> Object:
    """Deleted by its operator while it ran."""
    return member(role, name, pod("Running", running(), deleted=(20.0, 30.0)))


def checked(plugin: Plugin, row: Row, **template: Any) -> Seen:
    """What a plugin sees, compared with what a row says of it."""
    said = {"type": plugin.types[0], "container": {"image": "i"}, **template}
    task = Task(REQUEST, task_template(said), "work", PodSettings())
    seen = plugin.observe(task, row.job, row.pods, NOW)
    state = seen.state
    code, _, kind = row.code.partition(" ")
    assert (state.stage, state.cause.code if state.cause else "") == (row.stage, code), state
    if state.cause is not None:
        assert (state.cause.system, state.cause.recoverable) == (kind == "system", kind != "for good")
        assert row.text in state.cause.message
    assert row.text in state.reason
    assert (state.cause is not None) == (state.stage is Stage.FAILED)
    assert (state.ended_at is not None) == state.stage.over
    assert not (seen.look_again and state.stage.over)
    if row.again is not None:
        assert seen.look_again is not None
        assert (seen.look_again - NOW).total_seconds() == row.again
    assert [link.uri for link in state.links] == list(row.links)
    return seen


def kubeflow(*held: str, reason: str = "", message: str = "of one") -> Object:
    """A job of Kubeflow's with conditions as its operator writes them."""
    conditions = [condition(one, True, reason or f"Job{one}", message, since=2) for one in held]
    over = {"completionTime": ago(2)} if "Succeeded" in held else {}
    return job({"conditions": conditions, "startTime": ago(40), "replicaStatuses": {"Worker": {}}} | over)


def customized(plugin: Plugin, custom: dict[str, Any], version: int = 0) -> Task:
    """A task of which only its custom part is of interest."""
    said = {"type": plugin.types[0], "container": {"image": "i"}, "custom": custom, "taskTypeVersion": version}
    return Task(REQUEST, task_template(said), "work", PodSettings())


def at(seconds: float) -> datetime:
    """A time so long before NOW."""
    return NOW - timedelta(seconds=seconds)
