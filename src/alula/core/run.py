"""A run: what all of its actions have in common. Values only."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from alula.core.action import Action
from alula.core.ids import RunId, TaskId
from alula.core.trigger import BY_NOBODY, FiredBy, TriggerId


@dataclass(frozen=True, slots=True)
class Run:
    """A row of `runs`. ``spec`` is the serialised RunSpec, ``relation`` the serialised Relation to another run."""

    key: int
    id: RunId
    org: str
    digest: bytes
    spec: bytes
    labels: Mapping[str, str]
    relation: bytes
    source: int
    starts_at: datetime
    created_at: datetime
    seq: int
    created_by: str = ""
    queue: str = ""
    max_concurrency: int = 0  # actions that may run at once; 0: any number
    overwrite_cache: bool = False
    cache_everywhere: bool = False  # cached results of every project and domain count
    notify: bool = False  # it has rules for notifications
    hosted: bool = True  # this server brings it about; else it is reported from elsewhere
    recovers: int | None = None  # the key of the run whose results it takes over
    trigger: FiredBy = BY_NOBODY


@dataclass(frozen=True, slots=True)
class RunScope:
    """Which runs a list is about; "" means any."""

    project: str = ""
    domain: str = ""
    task_project: str = ""
    task_domain: str = ""
    task_name: str = ""
    task_version: str = ""
    trigger_task: str = ""
    trigger_name: str = ""
    paused: bool = False
    hosted: bool = True  # else those that are tracked: neither kind is ever listed among the other


@dataclass(frozen=True, slots=True)
class Creation:
    """A run as its creator asks for it. Exactly one of ``task``, ``spec`` and ``trigger`` says what to run.

    An empty ``name`` asks for one; ``request`` is what makes the request unique, if the client says so, and then the
    same request sent again is the same run.
    """

    project: str
    domain: str
    org: str
    name: str
    task: TaskId | None
    spec: bytes  # serialised task.TaskSpec, or empty
    inputs: bytes  # serialised task.Inputs, when they came inline
    input_uri: str  # when they were offloaded
    run_spec: bytes  # serialised task.RunSpec
    labels: Mapping[str, str]
    relation: bytes  # serialised common.Relation, or empty
    base_dir: str  # where the run's data goes, if the client says so
    source: int
    starts_at: datetime | None
    request: str
    created_by: str = ""
    queue: str = ""
    max_concurrency: int = 0
    overwrite_cache: bool = False
    cache_everywhere: bool = False
    recovers: RunId | None = None  # the run whose results it takes over
    inputs_hash: str = ""  # what the client says identifies offloaded inputs
    trigger: TriggerId | None = None  # it says what is left open, too
    fired_by: FiredBy = BY_NOBODY


def in_scope(scope: RunScope, root: Action) -> bool:
    """Whether a run, given as its root action, is one of those a list or watch is about."""
    run, task = root.id.run, root.task
    pairs = (
        (scope.project, run.project),
        (scope.domain, run.domain),
        (scope.task_project, task.project),
        (scope.task_domain, task.domain),
        (scope.task_name, task.name),
        (scope.task_version, task.version),
    )
    return scope.hosted is root.hosted and all(not wanted or wanted == found for wanted, found in pairs)
