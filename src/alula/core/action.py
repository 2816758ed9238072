"""What the server knows of an action: the row, its events, its failure, its policy. Values only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import NamedTuple

from alula.core.ids import ActionId
from alula.core.phase import Phase
from alula.core.trigger import BY_NOBODY, FiredBy


class Kind(IntEnum):
    """What an action is. Numbers are those of `workflow.ActionType`."""

    TASK = 1
    TRACE = 2
    CONDITION = 3


class CacheStatus(IntEnum):
    """What the cache had to do with an attempt. Numbers are those of `core.CatalogCacheStatus`."""

    DISABLED = 0
    MISS = 1
    HIT = 2
    POPULATED = 3
    LOOKUP_FAILURE = 4
    PUT_FAILURE = 5
    SKIPPED = 6
    EVICTED = 7


class Blame(IntEnum):
    """Whose failure it is. Numbers are those of `workflow.ErrorInfo.Kind`; the SDK maps exceptions by it."""

    UNKNOWN = 0
    USER = 1
    SYSTEM = 2


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt ended badly. ``code`` reaches user code as ``e.code``."""

    code: str
    message: str
    blame: Blame = Blame.USER
    recoverable: bool = True


@dataclass(frozen=True, slots=True)
class Policy:
    """What the task allows: retries after failures of the user's code, and how long to wait between them.

    The n-th retry (from 0) waits ``min(base * factor**n, cap)`` seconds (`core.Backoff`).
    """

    retries: int = 0
    backoff_base: float = 0.0
    backoff_factor: float = 1.0
    backoff_cap: float | None = None
    max_runtime: float = 0.0  # seconds that an attempt may run; 0: as long as it likes
    queued_timeout: float = 0.0  # seconds that an attempt may wait to be started
    deadline: float = 0.0  # seconds from the first attempt's queueing to the end of the last one
    outputs: bool = False  # the interface declares outputs: a success must have written them
    report: bool = False  # the task writes a report
    artifacts: bool = False  # its outputs may declare artifacts
    serialize: bool = False  # of actions with the same cache key one runs, the others wait for its result
    max_age: float = 0.0  # seconds that a cached result is good for; 0: for ever
    patience: float = 0.0  # seconds that a condition waits for its signal; 0: for ever


@dataclass(frozen=True, slots=True)
class TaskRef:
    """What lists show of an action's task without opening its spec."""

    project: str = ""
    domain: str = ""
    name: str = ""
    version: str = ""
    type: str = ""
    short_name: str = ""
    environment: str = ""


@dataclass(frozen=True, slots=True)
class Action:
    """One row of ``actions``: the projection of the action's events.

    ``labels``, ``relation`` (serialised common.Relation), ``source``, ``created_by``, ``max_concurrency``,
    ``overwrite_cache``, ``cache_everywhere`` and ``trigger`` are its run's.
    ``seq`` is the number of the run's last event that changed this row; ``version`` counts changes within the
    attempt and fences writers; ``logged`` means that the attempt's log can be read.
    """

    run_key: int
    id: ActionId
    org: str
    labels: Mapping[str, str]
    relation: bytes
    parent: str | None
    kind: Kind
    group: str
    phase: Phase
    attempt: int
    version: int
    seq: int
    parent_attempt: int
    created_at: datetime
    queued_at: datetime  # the current attempt
    started_at: datetime | None  # the current attempt
    ended_at: datetime | None
    not_before: datetime | None
    user_failures: int
    system_failures: int
    logged: bool
    abort_reason: str
    input_uri: str
    output_uri: str
    base_uri: str
    failure: Failure | None
    policy: Policy
    task: TaskRef
    spec: bytes  # the digest of its spec
    hosted: bool = True  # this server brings it about; else it is reported from elsewhere
    queue: str = ""
    cache_key: str = ""  # empty: its result is not cached
    cache_status: CacheStatus = CacheStatus.DISABLED
    recovered_from: str = ""  # the name of the run whose action of the same name gave the result
    value: bytes = b""  # serialised core.Literal: what a condition was signalled
    by: str = ""  # who signalled or aborted it
    source: int = 0
    created_by: str = ""
    max_concurrency: int = 0  # actions of the run that may run at once; 0: any number
    recovers: int | None = None  # the key of the run whose results its run takes over
    overwrite_cache: bool = False
    cache_everywhere: bool = False  # cached results of every project and domain count
    trigger: FiredBy = BY_NOBODY


class Unfinished(NamedTuple):
    """What a sweep has to know of an action that has not ended. There may be tens of thousands."""

    run_key: int
    id: ActionId
    attempt: int


@dataclass(frozen=True, slots=True)
class NewAction:
    """An action as its creator describes it."""

    name: str
    parent: str | None
    kind: Kind
    group: str
    input_uri: str
    output_uri: str
    base_uri: str
    spec: bytes  # serialised task.TaskSpec or task.TraceSpec
    policy: Policy = field(default_factory=Policy)
    task: TaskRef = field(default_factory=TaskRef)
    phase: Phase = Phase.QUEUED
    failure: Failure | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    hosted: bool = True
    queue: str = ""
    cache_key: str = ""
    recovered_from: str = ""
    value: bytes = b""
    by: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """Where something about an attempt can be seen (`core.TaskLog`)."""

    name: str
    uri: str
    told: bytes = b""  # the serialised message, if somebody else has told of it


@dataclass(frozen=True, slots=True)
class Note:
    """Something worth telling about an attempt that is no phase (`workflow.ClusterEvent`)."""

    at: datetime
    text: str
    told: bytes = b""  # the serialised message, if somebody else has told of it


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to an action. Ordered by ``seq`` within a run; never changed, never removed."""

    action: str
    attempt: int
    phase: Phase
    version: int
    at: datetime
    seq: int = 0
    failure: Failure | None = None
    output_uri: str = ""
    report_uri: str = ""
    logged: bool = False  # from here on the attempt's log can be read
    cluster: str = ""
    notes: tuple[Note, ...] = ()
    links: tuple[Link, ...] = ()
    cache_status: CacheStatus = CacheStatus.DISABLED
    cache_source: str = ""  # the attempt that a cached result came from: project/domain/run/action/attempt
    reason: str = ""  # why it was aborted
    by: str = ""  # who aborted or signalled it
    value: bytes = b""  # serialised core.Literal: what a condition was signalled; kept in the row alone
    log_context: bytes = b""  # serialised core.LogContext, if somebody else has told of it


@dataclass(frozen=True, slots=True)
class Transition:
    """A phase of an attempt and when it was entered and left."""

    phase: Phase
    start: datetime
    end: datetime | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt, folded from its events (see `history.attempts`)."""

    number: int
    phase: Phase
    start: datetime
    end: datetime | None
    transitions: tuple[Transition, ...]
    failure: Failure | None
    output_uri: str
    report_uri: str
    logged: bool
    cluster: str
    notes: tuple[Note, ...]
    links: tuple[Link, ...] = ()
    cache_status: CacheStatus = CacheStatus.DISABLED
    cache_source: str = ""
    log_context: bytes = b""  # serialised core.LogContext, if somebody else has told of it


@dataclass(frozen=True, slots=True)
class Details:
    """Everything there is to say about an action."""

    action: Action
    attempts: tuple[Attempt, ...]
    spec: bytes  # serialised task.TaskSpec or task.TraceSpec
