"""What an executor is asked to run, and what it saw. Values only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from alula.core.taskaction import Cause, Link, Request


@dataclass(frozen=True, slots=True)
class SecretFile:
    """A file that an attempt finds below the folder that ``FLYTE_SECRETS_DEFAULT_DIR`` names.

    ``path`` is relative and leads nowhere else; ``variable``, if any, is an environment variable for the whole path.
    """

    path: str
    body: bytes = field(repr=False)
    variable: str = ""


@dataclass(frozen=True, slots=True)
class Amounts:
    """Of a machine: CPU in cores, memory and disk in bytes, whole GPUs. 0: nothing is said of it."""

    cpu: float = 0.0
    memory: int = 0
    gpu: int = 0
    disk: int = 0


@dataclass(frozen=True, slots=True)
class MoreMemory:
    """What follows when an attempt runs out of memory: up to ``times`` times it is tried with ``factor`` times as much.

    ``cap`` in bytes: never with more than that; 0: no cap.
    """

    times: int = 0
    factor: float = 2.0
    cap: int = 0


@dataclass(frozen=True, slots=True)
class Resources:
    """What an attempt asks for, and what it may not exceed. ``shared_memory`` in bytes: what it may put in /dev/shm.

    ``accelerator`` is the kind of device that it needs, if it is no GPU. ``more``: when its memory did not suffice;
    ``None``: as the server has it. ``light``: it is there, and does nothing.
    """

    requests: Amounts = Amounts()
    limits: Amounts = Amounts()
    shared_memory: int = 0
    accelerator: str = ""
    more: MoreMemory | None = None
    light: bool = False


@dataclass(frozen=True, slots=True)
class Reuse:
    """A process that serves many attempts (the SDK's ``ReusePolicy``).

    Attempts with the same ``key`` may share one. Times in seconds: ``idle`` until all of an unused environment's
    processes end, ``scaledown`` until one that is too many ends. ``own`` names the variables of an attempt's
    environment that its process does not share. ``called`` is the action, ``caller`` its parent: who waits for whom.
    """

    key: str
    least: int = 1
    most: int = 1
    concurrency: int = 1
    idle: float = 30.0
    scaledown: float = 30.0
    own: frozenset[str] = frozenset()
    caller: str = ""
    called: str = ""


@dataclass(frozen=True, slots=True)
class Staging:
    """What a raw container is promised (executor.md 6): its inputs as files, and that what it leaves is collected.

    ``inputs`` is the URI of its inputs.pb, ``outputs`` the prefix for outputs.pb and error.pb, ``raw`` that for files;
    ``interface`` a serialized TypedInterface. The folders are paths in the container.
    """

    inputs: str
    outputs: str
    raw: str
    interface: bytes
    input_folder: str = "/var/inputs"
    output_folder: str = "/var/outputs"
    form: str = "json"  # of the file that describes all inputs: json, yaml or proto
    named: bool = False  # files keep their names, each in a folder that is called as its input


@dataclass(frozen=True, slots=True)
class Launch:
    """One attempt of one action, ready to be started.

    ``name`` is unique for ever, safe as a file name (``[a-z0-9.-]``, at most 200 characters), and is the key of
    every promise an executor makes: submitting the same name twice starts one process.
    """

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)  # may hold what users call secret
    image: str = ""
    grace: float = 5.0  # seconds between SIGTERM and SIGKILL when the attempt is released while it runs
    files: tuple[SecretFile, ...] = ()
    resources: Resources = Resources()
    reuse: Reuse | None = None
    secrets: tuple[str, ...] = field(default=(), repr=False)  # values that its log must not show
    entry: int = 0  # how many words of the command take the place of an image's own entry point
    staging: Staging | None = None
    notes: tuple[str, ...] = ()  # what is to be told of it beside what its executor says
    devices: tuple[str, ...] = ()  # the GPUs that are its own while it exists
    hidden: frozenset[str] = frozenset()  # the variables of its environment that are secret
    cluster: str = ""  # where it is to run; "" is this machine
    request: Request | None = None  # the same for a cluster, without what is hidden


class Presence(StrEnum):
    """Where an attempt is, as its executor sees it."""

    ACCEPTED = "accepted"  # nothing of it exists
    WAITING = "waiting"  # its executor has no room for it, and it is not known when there will be
    STARTING = "starting"  # no user code yet
    RUNNING = "running"
    EXITED = "exited"  # ended by itself; `exit_code` or `signal` is known
    LOST = "lost"  # it was started and is gone, and nobody saw how it ended


@dataclass(frozen=True, slots=True)
class Observation:
    """What an executor sees of one attempt, now."""

    presence: Presence
    started_at: datetime | None = None
    ended_at: datetime | None = None
    exit_code: int | None = None  # 0..255; None while it runs, or when a signal ended it
    signal: int | None = None  # the signal that ended it
    out_of_memory: bool = False  # a process of it, its main one or another, was killed for lack of memory
    unserved: bool = False  # for a time while it ran there was no server that it could reach
    log_tail: str = ""  # the last lines of the log (at most 80 lines, 2048 bytes), once ended
    notes: tuple[str, ...] = ()  # for the attempt's cluster events: which environment was used, and why
    timings: Mapping[str, float] = field(default_factory=dict)  # once ended: the seconds of its steps, all of its time
    refused: str = ""  # why it was accepted, and could not be started after all
    devices: tuple[str, ...] = ()  # the GPUs that it was given
    exceeded: str = ""  # why it was ended by its executor: it took more of the disk than its limit
    cause: Cause | None = None  # why it failed, if its executor knows that
    cluster: str = ""  # where it is; "" is this machine
    links: tuple[Link, ...] = ()


class Originator(StrEnum):
    """Who wrote a log line."""

    USER = "user"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of an attempt's log. ``text`` keeps its line end, except for a last line that has none."""

    at: datetime
    text: str
    originator: Originator = Originator.USER


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of an attempt's log that does not grow any more; ``last``: the log ends with it."""

    name: str
    number: int  # from 0
    last: bool = False
