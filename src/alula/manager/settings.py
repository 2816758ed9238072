"""What the Manager is told when it is started: the section ``manager`` of a configuration file, and flags above it."""

import json
import socket
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from annotated_types import Ge, Interval, MinLen

from alula.base.settings import Connector, Objects
from alula.core.errors import Invalid
from alula.manager.podspec.settings import PodSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Ray:
    """Tasks of type ray."""

    dashboard: Annotated[
        str,
        "The URL of a cluster's dashboard, a template: {{.rayClusterName}}, {{.rayJobID}}, {{.namespace}}; empty: no "
        "link.",
    ] = ""
    linger: Annotated[int, Ge(0), "Seconds that a cluster stays when its job is over, if the task says nothing."] = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Spark:
    """Tasks of type spark."""

    history: Annotated[str, "The URL of a history server; empty: no link."] = ""
    conf: Annotated[Mapping[str, str], "The configuration of Spark where a task says nothing else."] = field(
        default_factory=dict
    )
    service_account: Annotated[
        str, MinLen(1), "Of drivers, which create their executors, if neither task nor run name one."
    ] = "spark"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dask:
    """Tasks of type dask."""

    dashboard: Annotated[
        str, "The URL of a scheduler's dashboard, a template: {{.daskSchedulerName}}, {{.namespace}}; empty: no link."
    ] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Tasks of type aws-batch. Credentials are found as the AWS SDK finds them: the pod's identity, or variables."""

    region: Annotated[str, MinLen(1), "The region of the queues."]
    queue: Annotated[str, "The job queue of tasks that name none."] = ""
    endpoint: Annotated[str, "The URL of the service; empty: AWS's own."] = ""
    role: Annotated[str, "The IAM role of the containers of tasks that name none."] = ""
    execution_role: Annotated[str, "The IAM role that starts containers on Fargate, of tasks that name none."] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manager:
    """A controller of TaskActions, inside its cluster or beside it."""

    control_plane: Annotated[
        str, "The URL of alula's API, which hears what happens to attempts; empty: nobody is told, and runs go on."
    ] = ""
    cluster: Annotated[str, "The name of this cluster, as people see it in events."] = ""
    kubeconfig: Annotated[
        Path | None, "The kubeconfig; without: $KUBECONFIG, ~/.kube/config, or the service account of the pod."
    ] = None
    context: Annotated[str, "The context of the kubeconfig; empty: its current one."] = ""
    namespace: Annotated[
        str, 'The namespace whose TaskActions are carried out; empty: its own; "*": all, which needs a ClusterRole.'
    ] = ""
    replica: Annotated[
        str, "Of this process, among those that share the work; empty: the name of its host. Letters, digits, dashes."
    ] = ""
    groups: Annotated[
        int, Interval(ge=1, le=64), "Into how many parts the work is cut: as many replicas can work at once."
    ] = 8
    workers: Annotated[int, Interval(ge=1, le=1000), "How many attempts are worked on at once."] = 64
    listen: Annotated[str, "HOST:PORT of /healthz, /readyz and /metrics; empty: none. There is no authentication."] = (
        "127.0.0.1:10254"
    )
    override: Annotated[
        tuple[Annotated[str, MinLen(1)], ...],
        "Task types for which plugins of other packages are used though alula has its own.",
    ] = ()
    pods: PodSettings = field(default_factory=PodSettings)
    objects: Objects = field(default_factory=Objects)  # where large templates are, and the outputs of jobs elsewhere
    connectors: Mapping[str, Connector] = field(default_factory=dict)
    ray: Ray = Ray()
    spark: Spark = Spark()
    dask: Dask = Dask()
    batch: Batch | None = None


def load(path: Path) -> Manager:
    """The settings of a configuration file, in which other sections are other programs'.

    Raises:
        Invalid: it cannot be read, or is not as it must be: a line for each mistake names the file and the key.
    """
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    try:
        raw = tomllib.loads(path.read_text())
    except OSError as error:
        raise Invalid(f"{path}: it cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Invalid(f"{path}: it is no TOML: {error}") from None
    for kind in (Manager, PodSettings, Objects, Connector, Ray, Spark, Dask, Batch):
        kind.__pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[union-attr]
    try:
        text = json.dumps(raw.get("manager", {}), default=str)
        folder = {"folder": path.absolute().parent}
        settings: Manager = TypeAdapter(Manager).validate_json(text, context=folder)
    except ValidationError as error:
        told = [_told(one) for one in error.errors(include_input=False, include_url=False)]
        raise Invalid("\n".join(f"{path}: {text}" for text in told)) from None
    return settings


def check(settings: Manager) -> None:
    """That what is allowed one by one makes sense.

    Raises:
        Invalid: it does not.
    """
    urls = {"control_plane": settings.control_plane, "objects.endpoint": settings.objects.endpoint}
    urls |= {f"connectors.{name}.url": one.url for name, one in settings.connectors.items()}
    if settings.batch is not None:
        urls["batch.endpoint"] = settings.batch.endpoint
    for key, text in urls.items():
        url = urlsplit(text)
        if text and (url.scheme not in ("http", "https") or not url.hostname):
            raise Invalid(f"manager.{key}: {text!r} is no URL: it starts with http:// or https://")
    if settings.objects != Objects() and not settings.objects.remote:
        raise Invalid("manager.objects: a Manager reads no folder: say the endpoint, or the URI of the bucket")
    if bool(settings.objects.key_id) and not settings.objects.secret:
        raise Invalid("manager.objects: say key_id and secret, or none")
    host, _, port = settings.listen.rpartition(":")
    if settings.listen and not (host and port.isdecimal() and int(port) < 65536):
        raise Invalid(f"manager.listen: {settings.listen!r} is not HOST:PORT, as 127.0.0.1:10254 or [::]:10254")
    if not replica(settings):
        raise Invalid("manager.replica: use lower-case letters, digits and dashes")


def replica(settings: Manager) -> str:
    """The name of this process among its like; "" if it is none."""
    name = (settings.replica or socket.gethostname()).lower().replace(".", "-")[:40].strip("-")
    return name if name.replace("-", "a").isascii() and name.replace("-", "a").isalnum() else ""


def _told(error: Any) -> str:
    where = ".".join(["manager", *(str(part) for part in error["loc"])])
    if error["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return f"{where}: there is no such key"
    return f"{where}: {error['msg']}"
