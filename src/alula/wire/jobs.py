"""Tasks of a connector on this machine: a process of alula's own asks the connector, and is the attempt."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from alula.core.action import Action
from alula.core.errors import LaunchRefused
from alula.core.launch import Launch
from alula.core.run import Run
from alula.core.taskspec import manifest
from alula.wire import taskactions, tasks
from alula.wire.launches import is_job
from alula.wire.taskactions import Destination

JOB = "ALULA_JOB"  # the variable that tells the program its attempt: a TaskAction
CONNECTORS = "ALULA_CONNECTORS"  # and the one that tells it where connectors are, as JSON
_MOST = 120_000  # bytes of it; a variable has 128 KiB


@dataclass(frozen=True, slots=True)
class Asking:
    """The program that asks connectors, and what it is told of them."""

    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)


def launch(
    action: Action,
    run: Run,
    spec: bytes,
    surroundings: Mapping[str, str],
    values: Mapping[str, bytes],
    asking: Asking,
) -> Launch | None:
    """The launch of an action's current attempt; ``None`` for a task that is no connector's.

    Raises:
        LaunchRefused: a secret is missing, or the task is too large.
    """
    if not asking.command or not is_job(tasks.spec(spec).task_template):
        return None
    ready = taskactions.launch(action, run, spec, Destination("", surroundings), values)
    assert ready.request is not None
    told = json.dumps(manifest(ready.request, ""))
    if len(told) > _MOST:
        raise LaunchRefused(f"the task {action.task.name} is described in {len(told)} bytes: a connector gets {_MOST}")
    env = {**ready.request.env, **ready.env, **asking.env, JOB: told}
    return replace(ready, command=asking.command, env=env, request=None)
