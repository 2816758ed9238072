"""TaskActions (`flyte.org/v1`): one stands for one attempt. Its spec is what to launch, its status what was observed.

Both sides read and write them here: the control plane that creates them, and the Manager that carries them out. The
schema is upstream's (executor/api/v1/taskaction_types.go) with optional fields of our own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

GROUP, VERSION, KIND, PLURAL = "flyte.org", "v1", "TaskAction", "taskactions"
MANAGED = "flyte.org/managed"  # "true" on every object that an attempt consists of
ATTEMPT = "flyte.org/attempt-name"  # on each of them: the name of its TaskAction
SHARD = "flyte.org/shard"  # on TaskActions: which Manager looks after it
SHARDS = 64
OWNER = "flyte.org/control-plane"  # on TaskActions and Secrets: whose they are, where several servers use a namespace
FINALIZER = "flyte.org/plugin-finalizer"  # on TaskActions whose job is not in the cluster, while it may be there
RUN_KEY = "flyte.org/run-key"  # on both: what their server knows the run by


@dataclass(frozen=True, slots=True)
class Request:
    """What one attempt is to be: a TaskAction's spec, labels and annotations.

    ``name`` is the resource's, and the attempt's for ever. ``template`` is a serialized `core.TaskTemplate` in which
    nothing is left to be filled in (no ``{{.inputs}}``); ``template_uri`` is where it is if it is too large for a
    resource, and ``template_digest`` its SHA-256 in hexadecimal digits. ``env`` is all of its environment but
    ``secret_env``, which names variables kept in a Secret (``secret``)
    together with ``secret_files`` (key in the Secret -> path below the secrets' folder). ``secret_refs`` are variables
    that are in Secrets which are there anyway, under their names (variable -> Secret). ``owner`` and ``run_key`` are
    for the server that asks for it.
    """

    name: str
    project: str
    domain: str
    run: str
    action: str
    attempt: int  # from 1
    task_type: str
    template: bytes = field(default=b"", repr=False)
    template_uri: str = ""
    template_digest: str = ""
    parent: str = ""
    short_name: str = ""
    group: str = ""
    queue: str = ""
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    secret: str = ""
    secret_env: Sequence[str] = ()
    secret_files: Mapping[str, str] = field(default_factory=dict)
    secret_refs: Mapping[str, str] = field(default_factory=dict)
    input_uri: str = ""
    output_uri: str = ""  # the prefix of this attempt alone
    run_base: str = ""
    raw_uri: str = ""  # where raw containers' files go
    cache_key: str = ""
    interruptible: bool = False
    last: bool = False  # the task allows no try after this one
    max_attempts: int = 1
    service_account: str = ""
    grace: float = 5.0  # seconds between SIGTERM and SIGKILL
    labels: Mapping[str, str] = field(default_factory=dict)  # of the run, for all of its objects
    annotations: Mapping[str, str] = field(default_factory=dict)
    owner: str = ""
    run_key: int | None = None


class Stage(StrEnum):
    """How far an attempt has come in its cluster; the reasons of upstream's conditions in this order."""

    QUEUED = "Queued"  # accepted; nothing of it exists, or it has no node
    WAITING = "WaitingForResources"  # the cluster has no room (a condition says Queued)
    INITIALIZING = "Initializing"  # from before its object is created: an image is pulled, containers are made
    RUNNING = "Executing"
    SUCCEEDED = "Completed"  # it ended by itself and well, as far as the cluster can see
    FAILED = "PermanentFailure"

    @property
    def over(self) -> bool:
        return self in (Stage.SUCCEEDED, Stage.FAILED)


@dataclass(frozen=True, slots=True)
class Cause:
    """Why an attempt failed, as its cluster sees it (executor.md 8.4).

    ``system``: it is not the task's fault, and is tried again beyond the task's retries. ``recoverable``: a retry may
    help.
    """

    code: str
    message: str
    system: bool = False
    recoverable: bool = True


@dataclass(frozen=True, slots=True)
class Link:
    """Where people find more of an attempt: its log elsewhere, a dashboard."""

    name: str
    uri: str


@dataclass(frozen=True, slots=True)
class Container:
    """A container of an attempt's pod, to find its log by. ``restarts``: how often it was started again."""

    name: str
    init: bool = False
    started_at: datetime | None = None
    ended_at: datetime | None = None
    restarts: int = 0


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of an attempt. ``primary`` is the container that the attempt is about, "" if it is none of this pod."""

    name: str
    namespace: str
    containers: Sequence[Container] = ()
    primary: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """What is observed of an attempt: a TaskAction's status. ``notes``: what its cluster has told of it so far.

    ``handle``: what its plugin finds it by, if it is a job elsewhere.
    """

    stage: Stage = Stage.QUEUED
    reason: str = ""  # one line for people: "0/3 nodes are available: ..."
    cause: Cause | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    exit_code: int | None = None
    pods: Sequence[Pod] = ()
    links: Sequence[Link] = ()
    notes: Sequence[str] = ()
    handle: bytes = field(default=b"", repr=False)
