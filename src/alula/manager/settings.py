"""What the Manager is told when it is started: the section ``manager`` of a configuration file, and flags above it."""

import json
import socket
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from annotated_types import Interval, MinLen

from alula.core.errors import Invalid
from alula.manager.podspec.settings import PodSettings


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
    for kind in (Manager, PodSettings):
        kind.__pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[union-attr]
    try:
        text = json.dumps(raw.get("manager", {}), default=str)
        settings: Manager = TypeAdapter(Manager).validate_json(text)
    except ValidationError as error:
        told = [_told(one) for one in error.errors(include_input=False, include_url=False)]
        raise Invalid("\n".join(f"{path}: {text}" for text in told)) from None
    return settings


def check(settings: Manager) -> None:
    """That what is allowed one by one makes sense.

    Raises:
        Invalid: it does not.
    """
    url = urlsplit(settings.control_plane)
    if settings.control_plane and (url.scheme not in ("http", "https") or not url.hostname):
        raise Invalid(
            f"manager.control_plane: {settings.control_plane!r} is no URL: it starts with http:// or https://"
        )
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
