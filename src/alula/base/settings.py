"""What a server is told when it is started: one section of the configuration file for each class.

A field's annotation says what is allowed and, in words, what it means: the file is checked against it, and the printed
reference is made from it (`app/config.py`).
"""

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from annotated_types import Ge, Gt, Interval, MinLen

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, ValidationInfo
    from pydantic_core import CoreSchema

DOMAINS = ("development", "staging", "production")
Role = Literal["api", "reconciler", "scheduler", "notifier", "apps", "retention"]
ROLES: tuple[Role, ...] = ("api", "reconciler", "scheduler", "notifier", "apps", "retention")
PORTS = (30080, 8090)  # where `flyte create config --devbox` looks, and upstream's own


class Secret(str):
    """A text that is never printed. In a file it is where to find it: ``{ env = "NAME" }`` or ``{ file = "PATH" }``."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret(...)" if self else "Secret()"

    @classmethod
    def __get_pydantic_core_schema__(cls, _: Any, __: "GetCoreSchemaHandler") -> "CoreSchema":
        from pydantic_core import core_schema

        return core_schema.with_info_plain_validator_function(cls._found)

    @classmethod
    def _found(cls, value: Any, info: "ValidationInfo") -> "Secret":
        import os

        match value:
            case {"env": str(name), **rest} if not rest:
                if not os.environ.get(name):
                    raise ValueError(f"the environment variable {name} is not set")
                return cls(os.environ[name])
            case {"file": str(name), **rest} if not rest:
                path = (info.context or {}).get("folder", Path()) / Path(name).expanduser()
                try:
                    return cls(path.read_text().strip())
                except (OSError, ValueError) as error:
                    raise ValueError(f"{path} cannot be read ({type(error).__name__})") from None
        raise ValueError('say where it is: { env = "NAME" } or { file = "PATH" }')


NONE = Secret()


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Which parts of the server this process runs, and where it is reached."""

    home: Annotated[Path, "The folder for keys, tasks, logs and, unless told otherwise, database and objects."] = Path(
        "~/.alula"
    )
    name: Annotated[
        str,
        "Of this replica; empty: the name of its host. It keeps tasks and logs under it: replicas on one host that "
        "share a home need one each.",
    ] = ""
    roles: Annotated[
        tuple[Role, ...],
        MinLen(1),
        "api answers requests; reconciler runs tasks; scheduler fires triggers; notifier sends notifications; "
        "apps serves apps; retention deletes old runs.",
    ] = ROLES
    listen: Annotated[
        tuple[str, ...],
        "HOST:PORT, all served alike; localhost is both loopback addresses. There is no authentication: listen on "
        "other addresses only where everybody who reaches them may do everything.",
    ] = tuple(f"localhost:{port}" for port in PORTS)
    hosts: Annotated[
        tuple[str, ...], "Names by which clients may address this server, besides localhost and that of public_url."
    ] = ()
    public_url: Annotated[str, "How others reach this server; empty: its first port on localhost."] = ""
    term: Annotated[
        float,
        Interval(ge=1, le=300),
        "Seconds of silence after which other replicas take over what this one works on (PostgreSQL only).",
    ] = 10.0

    @property
    def ports(self) -> tuple[int, ...]:
        return tuple(int(address.rpartition(":")[2]) for address in self.listen)

    @property
    def port(self) -> int:
        """The first port; 0 if there is none."""
        return self.ports[0] if self.listen else 0

    @property
    def url(self) -> str:
        """How people reach this server."""
        return self.public_url or f"http://localhost:{self.port}"

    @property
    def names(self) -> frozenset[str]:
        """By which clients may address this server, besides those of the loopback interface."""
        public = urlsplit(self.public_url).hostname if self.public_url else None
        return frozenset(name.lower() for name in (*self.hosts, public) if name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """Where the rows are kept."""

    url: Annotated[
        str,
        "sqlite:///PATH, a plain path, or postgresql://USER@HOST:PORT/NAME (`?pool_size=`, `?statement_cache_size=`); "
        "empty: alula.db in the home.",
    ] = field(default="", repr=False)
    password: Annotated[Secret, "Of the PostgreSQL user."] = NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Objects:
    """Where inputs, outputs and code are kept: a folder, which alula serves to tasks and clients, or a bucket.

    Replicas must see the same folder, or use the same bucket. docs/howto/objects.md has an example of each.
    """

    folder: Annotated[Path | None, "The folder; by default `objects` in the home."] = None
    bucket: Annotated[
        str,
        MinLen(3),
        "The name of the bucket, in the folder or at the endpoint; or its URI: s3://NAME, gs://NAME (Google Cloud "
        "Storage) or abfs://CONTAINER (Azure).",
    ] = "alula"
    buckets: Annotated[
        tuple[str, ...],
        "Other buckets of the same store, as URIs, that data of runs may be in. URIs anywhere else are refused.",
    ] = ()
    endpoint: Annotated[
        str,
        "The URL of the store, for this server and for tasks, as that of a MinIO. Empty: the folder; for the URI of a "
        "bucket: the provider's own.",
    ] = ""
    public_endpoint: Annotated[
        str,
        "The URL of the store in signed URLs, for those who do not reach this server as tasks do, by executor.endpoint "
        "or clusters.NAME.endpoint. Empty: the endpoint.",
    ] = ""
    region: Annotated[str, MinLen(1), "The region that requests of S3 are signed for."] = "us-east-1"
    account: Annotated[str, "The storage account of Azure."] = ""
    key_id: Annotated[Secret, "The access key of S3; with a folder: made at the first start."] = NONE
    secret: Annotated[
        Secret,
        "The secret of the access key; the account key of Azure; the JSON key of a Google service account. Without: "
        "the identity that the provider gives to this process, and to tasks.",
    ] = NONE

    @property
    def uri(self) -> str:
        """Of the bucket."""
        return self.bucket if "://" in self.bucket else f"s3://{self.bucket}"

    @property
    def remote(self) -> bool:
        """Whether they are in a store elsewhere, and not in a folder."""
        return bool(self.endpoint) or "://" in self.bucket


@dataclass(frozen=True, slots=True, kw_only=True)
class MoreMemory:
    """What follows when an attempt runs out of the memory that its task asked for. These tries cost no retries.

    A task, a run or a project says otherwise by the environment variable ALULA_MORE_MEMORY="times=3 factor=2 cap=8Gi".
    """

    times: Annotated[int, Interval(ge=0, le=100), "How often it is tried again with more."] = 0
    factor: Annotated[float, Gt(1), "How much more, each time."] = 2.0
    cap: Annotated[str, "The most that it gets, as 8Gi; empty: whatever the factor makes."] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connector:
    """A server of connectors: gRPC, over HTTP/2. It says itself which types of tasks it carries out."""

    url: Annotated[str, MinLen(1), "Where it is: http://HOST:PORT, or https:// with a certificate that systems trust."]
    project: Annotated[str, "The only project that it is for; empty: all."] = ""
    domain: Annotated[str, "The only domain that it is for; empty: all."] = ""
    timeout: Annotated[float, Gt(0), "Seconds for one call."] = 10.0
    idempotent: Annotated[
        bool,
        "Whether its connectors, asked to create the job of an attempt again, find the one that is there. Then no job "
        "is lost when a Manager dies while it creates one.",
    ] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Executor:
    """How tasks run: as processes of this machine."""

    slots: Annotated[int, Ge(1), "How many attempts run at once; parents that wait for children do not count."] = 16
    mode: Annotated[
        Literal["fork", "spawn"], "fork starts tasks from a process that has the SDK loaded; spawn starts each cold."
    ] = "fork"
    endpoint: Annotated[str, "The URL at which tasks reach an api; empty: this process's own."] = ""
    cpus: Annotated[
        float | None, Gt(0), "How many CPUs tasks share that ask for some; without: those of the machine."
    ] = None
    memory: Annotated[str, "How much memory, as 16Gi; empty: that of the machine."] = ""
    disk: Annotated[str, "How much disk, as 100Gi; empty: what is free at the start."] = ""
    gpus: Annotated[tuple[str, ...] | None, "GPUs, by UUID or number; without: those that nvidia-smi lists."] = None
    strict: Annotated[
        bool, "Refuse tasks that ask for more CPU, memory or disk than there is, and not only run them alone."
    ] = False
    isolation: Annotated[
        Literal["process", "namespaces"],
        "How far tasks are kept apart from this machine: process is a process group with folders and variables of its "
        "own; namespaces (bubblewrap) also makes files read-only, hides /tmp, the user's home and this server's, and "
        "shows no other processes. The network is shared; tasks start cold.",
    ] = "process"
    containers: Annotated[
        Literal["auto", "off", "docker", "podman"],
        "The engine for raw container tasks and for images that are no environments of alula; auto: docker or podman, "
        "if one answers. Without an engine they run in the local environment, and say so.",
    ] = "auto"
    environments_size: Annotated[
        int, Ge(0), "GiB that environments of images may take on this machine; the least recently used ones go first."
    ] = 20
    build_apt: Annotated[
        bool, "Let images install apt packages that are missing, for the whole machine; the server has to be root."
    ] = False
    build_commands: Annotated[bool, "Let images run their shell commands here, as the server's user."] = False
    log_limit: Annotated[
        int, Ge(1), "MiB of one attempt's log; what it prints after that is dropped, and the log says so."
    ] = 256
    logs_size: Annotated[
        int,
        Ge(0),
        "MiB of logs of ended attempts that stay on this machine once they are archived in the object store; those "
        "that nobody has read for the longest time go first.",
    ] = 256
    more_memory: MoreMemory = MoreMemory()
    connectors: Annotated[
        Mapping[str, Connector],
        "Connectors beside those that are served as apps here, by name: they carry out tasks that have no command.",
    ] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A Kubernetes cluster that runs tasks; `alula manager` and the TaskAction resource have to be there.

    `[clusters.local]` is this machine: queues and projects that are not to go to the default cluster.
    """

    queues: Annotated[
        tuple[str, ...], "What is in these queues runs there: NAME, or PROJECT/DOMAIN/NAME. They go before projects."
    ] = ()
    projects: Annotated[tuple[str, ...], "What is in these projects runs there: PROJECT, or PROJECT/DOMAIN."] = ()
    default: Annotated[bool, "What no other cluster claims runs there, and not on this machine."] = False
    kubeconfig: Annotated[
        Path | None, "How to reach it; without: $KUBECONFIG, ~/.kube/config, or the service account of the pod."
    ] = None
    context: Annotated[str, "Of the kubeconfig; empty: its current one."] = ""
    namespace: Annotated[str, MinLen(1), "Where its TaskActions are."] = "flyte"
    endpoint: Annotated[str, "The URL at which its pods reach an api; empty: executor.endpoint, or public_url."] = ""
    objects: Annotated[str, "The URL at which its pods reach the objects; empty: as everybody, or that endpoint."] = ""
    credentials: Annotated[
        Literal["given", "own"],
        "given puts the keys of the object store, if it has any, into one Secret, which pods refer to; own leaves them "
        "to the cluster: to the service accounts of pods, or to the Manager's settings.",
    ] = "given"
    secret: Annotated[
        str,
        "A Secret in that namespace which has the keys, instead of credentials: AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY, GOOGLE_SERVICE_ACCOUNT_KEY, or AZURE_STORAGE_ACCOUNT_KEY.",
    ] = ""
    secrets: Annotated[
        Literal["given", "webhook"],
        "given puts the secrets that a task asks for into a Secret of its attempt; webhook has them injected by an "
        "admission webhook of the cluster that knows the labels and annotations of Flyte's.",
    ] = "given"
    service_account: Annotated[str, "Of pods whose task and run name none; empty: as the Manager says."] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Projects:
    """What is there from the start."""

    default: Annotated[str, MinLen(1), "A project that is made if it is missing."] = "flytesnacks"
    domains: Annotated[tuple[str, ...], MinLen(1), "The domains of a new database."] = DOMAINS
    create_missing: Annotated[bool, "Make a project when a run first names it."] = False


@dataclass(frozen=True, slots=True)
class Mailing:
    """The SMTP server that e-mail is given to."""

    host: Annotated[str, MinLen(1), "Its name."]
    sender: Annotated[str, MinLen(1), 'An address, or "Name <address>".']
    port: Annotated[int, Interval(ge=1, le=65535), "Its port."] = 587
    security: Annotated[Literal["starttls", "tls", "none"], "How the connection is protected."] = "starttls"
    user: Annotated[str, "Who signs in; empty: nobody."] = ""
    password: Annotated[Secret, "The password of that user."] = field(default=NONE, repr=False)


@dataclass(frozen=True, slots=True)
class Notifications:
    """What the server may tell people, and how.

    ``rules``, ``deliveries`` and ``mails`` are what runs name instead of spelling it out, in the JSON form of
    InlineRuleList, DeliveryConfigTemplate and InlineEmailTemplate.
    """

    mail: Annotated[Mailing | None, "E-mail."] = None
    allow: Annotated[
        tuple[str, ...], "Hosts, addresses and networks (10.1.0.0/16) that webhooks may call besides public ones."
    ] = ()
    private: Annotated[bool, "Let webhooks call every private network."] = False
    rules: Annotated[Mapping[str, Any], "Rules by name."] = field(default_factory=dict, repr=False)
    deliveries: Annotated[Mapping[str, Any], "Deliveries by name."] = field(default_factory=dict, repr=False)
    mails: Annotated[Mapping[str, Any], "E-mail templates by name."] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who people are to this server, which asks nobody for a password."""

    user: Annotated[str, MinLen(1), "The name under which runs and changes are recorded."] = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class Encryption:
    """How secrets of users are encrypted in the database."""

    key: Annotated[
        Secret,
        "Keys of 32 bytes in base64 (`openssl rand -base64 32`), the current one first, with spaces between; replicas "
        "need the same. Without: the variable ALULA_SECRET_KEY, or a key that is made at the first start.",
    ] = NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A queue with limits. Each reconciler counts its own."""

    actions: Annotated[
        int | None, Ge(1), "How many actions run at once; parents that wait for children do not count."
    ] = None
    runs: Annotated[
        int | None, Ge(1), "How many runs do, from their first action's start to its end, whatever their children do."
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One server: the sections of its configuration file."""

    server: Server = Server()
    database: Database = Database()
    objects: Objects = Objects()
    executor: Executor = Executor()
    projects: Projects = Projects()
    queues: Annotated[
        Mapping[str, Queue], "How much of a queue runs at once, by its name: NAME, or PROJECT/DOMAIN/NAME."
    ] = field(default_factory=dict)
    clusters: Annotated[Mapping[str, Cluster], "Kubernetes clusters, by name."] = field(default_factory=dict)
    notifications: Notifications = Notifications()
    retention: Annotated[
        Mapping[str, Annotated[float, Gt(0)]],
        'After how many days ended runs are deleted, by project; "*" is every other project.',
    ] = field(default_factory=dict)
    encryption: Encryption = Encryption()
    identity: Identity = Identity()

    @property
    def home(self) -> Path:
        return self.server.home

    @property
    def user(self) -> str:
        return self.identity.user

    @property
    def shared(self) -> bool:
        """Whether there may be other replicas: a SQLite file is one process's."""
        return self.database.url.startswith(("postgresql:", "postgres:"))

    @property
    def name(self) -> str:
        """Of this replica; empty if it is the only one and was given none."""
        return self.server.name or (socket.gethostname() if self.shared else "")

    @property
    def private(self) -> Path:
        """The folder that is this replica's alone."""
        return self.home / "replicas" / self.name if self.name else self.home
