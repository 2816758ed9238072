"""Objects of a cluster as they are on the wire, and what may go wrong with them."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of objects, and where its objects are found."""

    group: str  # "" for those of the core
    version: str
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


PODS = Kind("", "v1", "Pod", "pods")
SECRETS = Kind("", "v1", "Secret", "secrets")
EVENTS = Kind("", "v1", "Event", "events")
POD_TEMPLATES = Kind("", "v1", "PodTemplate", "podtemplates")
NAMESPACES = Kind("", "v1", "Namespace", "namespaces", namespaced=False)
LEASES = Kind("coordination.k8s.io", "v1", "Lease", "leases")
CRDS = Kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False)


class Name(NamedTuple):
    """Which object of its kind. ``namespace`` is "" for those that are in none."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Selection:
    """Objects of a kind: of a namespace, or ("") of all of them; ``labels``, ``fields`` are selectors, "" takes all."""

    kind: Kind
    namespace: str = ""
    labels: str = ""
    fields: str = ""


class Happened(StrEnum):
    """What a watch tells of an object."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"  # nothing but the version up to which all was told


class KubeError(Exception):
    """The cluster did not do what it was asked. ``reason`` is the machine's word (`metav1.Status.reason`)."""

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class NotFound(KubeError):
    """There is no such object, or no such kind."""


class Exists(KubeError):
    """There is one of that name."""


class Conflict(KubeError):
    """It has changed since it was read."""


class Gone(KubeError):
    """So old a version is not known any more: list again (410)."""


class Refused(KubeError):
    """It is never done as it was asked: invalid, forbidden, denied by an admission webhook (400, 403, 422)."""


class Busy(KubeError):
    """Not now (429, 5xx, no connection, no answer in time). ``after`` in seconds, if the cluster said it."""

    def __init__(self, message: str, reason: str = "", after: float | None = None) -> None:
        super().__init__(message, reason)
        self.after = after


def name_of(found: Mapping[str, Any]) -> Name:
    meta = found["metadata"]
    return Name(meta.get("namespace", ""), meta["name"])


def version_of(found: Mapping[str, Any]) -> str:
    version: str = found["metadata"].get("resourceVersion", "")
    return version


def labels_of(found: Mapping[str, Any]) -> Mapping[str, str]:
    return found["metadata"].get("labels") or {}


def owner_of(found: Mapping[str, Any]) -> str:
    """The uid of its controller; "" if it has none."""
    for owner in found["metadata"].get("ownerReferences") or []:
        if owner.get("controller"):
            uid: str = owner["uid"]
            return uid
    return ""
