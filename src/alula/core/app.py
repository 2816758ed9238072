"""Apps: programs that go on serving requests. Values; how many run; and what is said of them."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from math import ceil

LOCAL = "local"  # the cluster that this server is itself
RESERVED_PORTS = frozenset({8012, 8022, 8112, 9090, 9091})  # the SDK refuses them for apps (app/_types.py)
DEFAULT_TIMEOUT, DEFAULT_IDLE = 300.0, 300.0  # seconds; for an app that names none
CONDITIONS_KEPT = 20
CRASH_LOOP = 3  # crashes in a row that make a loop
STEADY = 30.0  # seconds a replica must have served until its crashes are forgotten
_CONCURRENCY = 100  # requests at once that one replica takes when the app names no metric (Knative's default)
_BACKOFF, _LONGEST_BACKOFF = 0.5, 60.0  # seconds
_LABEL = 63  # characters of a DNS label


@dataclass(frozen=True, slots=True, order=True)
class AppId:
    """One app. Unique within its project and domain, not beyond."""

    project: str
    domain: str
    name: str

    def __str__(self) -> str:
        return f"{self.project}/{self.domain}/{self.name}"


class Desired(IntEnum):
    """What its owner wants of an app (`app.Spec.DesiredState`; STARTED is the older word for ACTIVE)."""

    STOPPED = 1
    ACTIVE = 3


class Deployment(IntEnum):
    """Where an app is (`app.Status.DeploymentStatus`, without the deprecated ones)."""

    UNASSIGNED = 1
    ASSIGNED = 2
    PENDING = 3
    STOPPED = 4
    FAILED = 6
    ACTIVE = 7
    DEPLOYING = 10


class Substate(IntEnum):
    """What a status is about (`app.Status.Substate`)."""

    NONE = 0
    INITIALIZING = 2
    SECRET_MOUNT_ERROR = 5
    CRASH_LOOP = 6
    OOM_KILLED = 7
    RUNNING = 8
    SCALED_TO_ZERO = 9
    SCALING_FROM_ZERO = 10
    SCALING_UP = 11
    SCALING_DOWN = 12


@dataclass(frozen=True, slots=True)
class Condition:
    """What was said of an app at a time; the last one is what holds. ``revision`` counts the status writes."""

    status: int
    substate: int
    message: str
    at: datetime
    revision: int = 0
    deployment: str = ""  # the deployment that it is about
    actor: str = ""  # whose request it was; "" for what came about by itself


@dataclass(frozen=True, slots=True)
class Scaling:
    """How many replicas an app may have, and what one of them is good for."""

    least: int = 0
    most: int = 1
    idle: float = DEFAULT_IDLE  # seconds without need until replicas go
    concurrency: int = 0  # requests at once per replica; 0: no such target
    rate: int = 0  # requests per second per replica; 0: no such target


@dataclass(frozen=True, slots=True)
class Plan:
    """What of an app's spec decides something here; ``deployment`` names what its processes are started from."""

    scaling: Scaling
    timeout: float  # seconds until a request must have an answer
    port: int  # as declared; 0: none
    deployment: str
    cluster: str = ""  # the only cluster it may run on
    subdomain: str = ""
    consumed: str = ""  # the artifacts it takes, each on a line of its own as project/domain/name@version


@dataclass(frozen=True, slots=True)
class App:
    """A row of `apps`. ``spec`` and ``meta`` are serialised messages, which only `wire` opens."""

    key: int
    id: AppId
    org: str
    host: str  # its label below `.localhost`
    revision: int
    desired: Desired
    spec: bytes
    meta: bytes
    plan: Plan
    created_by: str
    assigned: str  # the cluster that serves it; "" for none
    lease_until: datetime | None
    replicas: int
    conditions: tuple[Condition, ...]
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None = None

    @property
    def status(self) -> Condition:
        return self.conditions[-1]


@dataclass(frozen=True, slots=True)
class NewApp:
    """What a request says of an app."""

    id: AppId
    org: str
    revision: int  # the one it is based on; 0: none is named
    desired: Desired
    spec: bytes
    meta: bytes
    plan: Plan


@dataclass(frozen=True, slots=True)
class Report:
    """What whoever serves an app says of it."""

    status: int
    substate: int
    message: str
    replicas: int


@dataclass(frozen=True, slots=True)
class Replica:
    """One process of an app, running or not."""

    app: int
    name: str
    revision: int
    started_at: datetime
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class AppScope:
    """Which apps a list or a watch is about; "" means any."""

    project: str = ""
    domain: str = ""
    name: str = ""
    cluster: str = ""
    consumed: str = ""  # the beginning of a line of `Plan.consumed`

    def covers(self, app: App) -> bool:
        """Whether an app is in it (`storage.apps` says the same in SQL)."""
        wanted = (self.project, self.domain, self.name, self.cluster)
        found = (app.id.project, app.id.domain, app.id.name, app.assigned)
        matches = all(not want or want == have for want, have in zip(wanted, found, strict=True))
        return matches and f"\n{self.consumed}" in f"\n{app.plan.consumed}"


def host_label(app: AppId, subdomain: str = "", *, taken: bool = False) -> str:
    """The DNS label of an app. ``taken``: another app has the plain one, which says too little to tell them apart."""
    plain = subdomain or f"{app.name}-{app.project}-{app.domain}"
    label = re.sub(r"[^a-z0-9-]+", "-", plain.lower()).strip("-")
    if label and len(label) <= _LABEL and not taken:
        return label
    digest = hashlib.sha256(str(app).encode()).hexdigest()[:8]
    return f"{label[: _LABEL - 9].strip('-')}-{digest}".strip("-")


def with_port(words: Sequence[str], declared: int, given: int) -> tuple[str, ...]:
    """A command whose words name the declared port, with the given one in its place.

    Every process of an app gets a port of its own, as no two can listen on one. A word counts that is the port and
    nothing else, or ends in it after ``=`` or ``:``.
    """
    if not declared:
        return tuple(words)
    port = re.compile(rf"(^|[=:]){declared}$")
    return tuple(port.sub(lambda m: f"{m[1]}{given}", word) for word in words)


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of an app."""

    open: int = 0  # requests under way or waiting, at most since it was last looked
    rate: float = 0.0  # requests per second


def needed(scaling: Scaling, load: Load) -> int:
    """How many replicas a load needs, whatever is allowed."""
    by_concurrency = ceil(load.open / (scaling.concurrency or _CONCURRENCY))
    by_rate = ceil(load.rate / scaling.rate) if scaling.rate else 0
    return max(by_concurrency, by_rate)


def wanted(scaling: Scaling, needed_at: Mapping[int, float], now: float) -> int:
    """How many replicas an app is to have. ``needed_at``: when so many were last needed, in seconds.

    More are given at once; they are taken away after the idle period.
    """
    recent = [count for count, at in needed_at.items() if now - at < scaling.idle]
    return min(max(scaling.least, *recent, 0), scaling.most)


def backoff(crashes: int) -> float:
    """Seconds until the next try after so many crashes in a row."""
    return float(min(_BACKOFF * 2 ** min(crashes - 1, 20), _LONGEST_BACKOFF)) if crashes else 0.0


def ended(how: str, tail: str, declared: int) -> str:
    """What is said of a process that has ended, though an app is to go on: how, why, its last words."""
    taken = "address already in use" in tail.lower()
    why = (
        f"a port that it wants is in use; listen on the port in the variable PORT, as each process has its own "
        f"(the spec's is {declared})"
        if taken
        else ""
    )
    said = f"it said last:\n{tail.rstrip()}" if tail.strip() else "it said nothing"
    return "; ".join(part for part in (how, why, said) if part)


@dataclass(frozen=True, slots=True)
class View:
    """What is known of an app's processes, all of its current deployment but ``leaving``."""

    desired: Desired
    wanted: int
    ready: int = 0
    starting: int = 0
    leaving: int = 0  # processes that are being ended, and those of a deployment before
    proven: bool = False  # this deployment has served before
    crashes: int = 0  # in a row
    refused: str = ""  # the code of the reason why it can never be started as it is
    oom: bool = False
    trouble: str = ""  # why the last process ended


def verdict(view: View) -> tuple[Deployment, Substate, str] | None:
    """What is to be said of an app: its status, what that is about, and a message. ``None``: what was said holds."""
    if view.desired is Desired.STOPPED:
        gone = not (view.ready or view.starting or view.leaving)
        return (Deployment.STOPPED, Substate.NONE, "stopped") if gone else None
    if view.refused:
        secret = view.refused.startswith("Secret")
        return Deployment.FAILED, Substate.SECRET_MOUNT_ERROR if secret else Substate.NONE, view.trouble
    if view.ready:
        if view.ready < view.wanted:
            return Deployment.ACTIVE, Substate.SCALING_UP, f"{view.ready} of {view.wanted} replicas are ready"
        return Deployment.ACTIVE, Substate.RUNNING, ""
    if view.crashes >= CRASH_LOOP or (view.crashes and not view.wanted):
        return Deployment.FAILED, Substate.OOM_KILLED if view.oom else Substate.CRASH_LOOP, view.trouble
    if not view.wanted:
        return Deployment.ACTIVE, Substate.SCALED_TO_ZERO, "idle: the next request starts it"
    if view.proven and not view.crashes:
        return Deployment.ACTIVE, Substate.SCALING_FROM_ZERO, "starting"
    return Deployment.DEPLOYING, Substate.INITIALIZING, view.trouble or "starting"


def appended(conditions: Sequence[Condition], new: Condition) -> tuple[Condition, ...]:
    """The conditions with a new one, as the next write of the status; the oldest are forgotten."""
    last = conditions[-1].revision if conditions else 0
    numbered = Condition(new.status, new.substate, new.message, new.at, last + 1, new.deployment, new.actor)
    return (*conditions, numbered)[-CONDITIONS_KEPT:]


def first_condition(assigned: str, desired: Desired) -> tuple[Deployment, str]:
    """What is said of an app that was just created, or is to run something else from now on."""
    if not assigned:
        return Deployment.UNASSIGNED, "waiting for a cluster to lease it"
    if desired is Desired.STOPPED and assigned == LOCAL:
        return Deployment.STOPPED, "not started yet"
    return Deployment.PENDING, "waiting to be started"
