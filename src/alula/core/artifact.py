"""Artifacts: versions of a name, each a value with a type, perhaps one partition of many. Values only."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum

from alula.core.errors import Invalid

LATEST = "latest"  # as a version: the one published last
SPEC_LIMIT = 2 * 1024 * 1024  # bytes; values are references to data, and small
NAME_LIMIT = 255  # characters of a name, and of a version
PLACE_LIMIT = 64  # characters of a project, and of a domain
PARENTS_LIMIT = 32  # the SDK's
KEYS_LIMIT = 16  # string keys of a partition
VALUE_LIMIT = 1024  # characters of a partition's value
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_KEY = re.compile(r"[A-Za-z0-9._/-]{1,64}")  # what a filter can name


class Granularity(IntEnum):
    """How long a time partition is. Numbers are those of `core.Granularity`."""

    UNSET = 0
    MINUTE = 1
    HOUR = 2
    DAY = 3
    MONTH = 4
    WEEK = 5


def floor(at: datetime, granularity: Granularity) -> datetime:
    """The start of the partition that holds a time in UTC. Weeks start on Monday."""
    minute = at.replace(second=0, microsecond=0)
    midnight = minute.replace(hour=0, minute=0)
    match granularity:
        case Granularity.MINUTE:
            return minute
        case Granularity.HOUR:
            return minute.replace(minute=0)
        case Granularity.WEEK:
            return midnight - min(timedelta(days=midnight.weekday()), midnight - datetime.min.replace(tzinfo=at.tzinfo))
        case Granularity.MONTH:
            return midnight.replace(day=1)
        case _:
            return midnight


@dataclass(frozen=True, slots=True, order=True)
class ArtifactName:
    """What all versions of an artifact share."""

    project: str
    domain: str
    name: str

    def __str__(self) -> str:
        return f"{self.project}/{self.domain}/{self.name}"


@dataclass(frozen=True, slots=True, order=True)
class ArtifactId:
    """One version of an artifact."""

    name: ArtifactName
    version: str

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, slots=True)
class Schema:
    """By what the versions of a name are partitioned: at most one time key, and string keys."""

    time_key: str = ""
    granularity: Granularity = Granularity.UNSET
    keys: tuple[str, ...] = ()

    def agrees(self, other: "Schema") -> bool:
        """The order of keys means nothing."""
        return (self.time_key, self.granularity, set(self.keys)) == (other.time_key, other.granularity, set(other.keys))

    def __str__(self) -> str:
        time = [f"{self.time_key} ({self.granularity.name.lower()})"] if self.time_key else []
        return ", ".join([*time, *self.keys]) or "nothing"


@dataclass(frozen=True, slots=True)
class Partition:
    """Which partition a version is. ``time`` is the start of its time partition."""

    values: Mapping[str, str]
    time_key: str = ""
    granularity: Granularity = Granularity.UNSET
    time: datetime | None = None

    @property
    def schema(self) -> Schema:
        return Schema(self.time_key, self.granularity, tuple(sorted(self.values)))


@dataclass(frozen=True, slots=True)
class Artifact:
    """A version, as its publisher describes it. None of it ever changes."""

    id: ArtifactId
    digest: bytes  # of everything but where it came from: the same again is the same version
    spec: bytes  # serialised artifact.ArtifactSpec
    metadata: Mapping[str, str]
    partition: Partition
    parents: tuple[ArtifactId, ...] = ()
    run: str = ""  # the name of the run and action in its project and domain that produced it
    action: str = ""
    external_ref: str = ""
    created_by: str = ""


@dataclass(frozen=True, slots=True)
class Published:
    """A version that is stored. ``schema`` is its name's; no two versions of a name have the same ``created_at``."""

    artifact: Artifact
    created_at: datetime
    schema: Schema

    @property
    def mismatch(self) -> str:
        """How its partition disagrees with what its name is partitioned by; empty if it does not."""
        return mismatch(self.artifact.id.name, self.schema, self.artifact.partition.schema)


@dataclass(frozen=True, slots=True)
class Group:
    """A name with its latest version."""

    latest: Published
    versions: int
    time: datetime | None  # the newest time partition
    partitions: tuple[Mapping[str, str], ...]  # the string partitions of that time, some of them


@dataclass(frozen=True, slots=True)
class ArtifactScope:
    """Which artifacts a list is about. Without a name: all names of the project and domain."""

    project: str
    domain: str
    name: str = ""
    latest_per_partition: bool = False


def mismatch(name: ArtifactName, fixed: Schema, found: Schema) -> str:
    """Why a version is no partition of its name; empty if it is one."""
    if fixed.agrees(found):
        return ""
    return f"artifact {name} is partitioned by {fixed}, not by {found}: other partitions need another artifact name"


def check(artifact: Artifact) -> None:
    """Refuse what can be no artifact. `Invalid`."""
    name, version = artifact.id.name.name, artifact.id.version
    if len(name) > NAME_LIMIT or not _NAME.fullmatch(name):
        raise Invalid(f"artifact_id.name.name: {name!r} is no name; use up to {NAME_LIMIT} of A-Z a-z 0-9 . _ -")
    if not 0 < len(version) <= NAME_LIMIT or version == LATEST:
        raise Invalid(f"artifact_id.version: {version!r} is no version; use 1 to {NAME_LIMIT} characters, not 'latest'")
    if len(artifact.spec) > SPEC_LIMIT:
        raise Invalid(f"spec: has more than {SPEC_LIMIT} bytes; store the data, and publish where it is")
    _check_parents(artifact)
    check_schema(artifact.partition.schema)
    for key, value in artifact.partition.values.items():
        if not 0 < len(value) <= VALUE_LIMIT:
            raise Invalid(f"spec.partitions: {key!r} needs a value of 1 to {VALUE_LIMIT} characters")


def _check_parents(artifact: Artifact) -> None:
    if len(artifact.parents) > PARENTS_LIMIT:
        raise Invalid(f"spec.parent_artifacts: more than {PARENTS_LIMIT}")
    for parent in artifact.parents:
        name = parent.name
        parts = [(name.project, PLACE_LIMIT), (name.domain, PLACE_LIMIT), (name.name, NAME_LIMIT)]
        if not all(0 < len(part) <= limit for part, limit in [*parts, (parent.version, NAME_LIMIT)]):
            raise Invalid("spec.parent_artifacts: one has no version, or a name that is too long")
        if parent == artifact.id:
            raise Invalid("spec.parent_artifacts: a version cannot be its own parent")


def check_schema(schema: Schema) -> None:
    """Refuse what nothing can be partitioned by. `Invalid`."""
    keys = [*schema.keys, *([schema.time_key] if schema.time_key else [])]
    if len(schema.keys) > KEYS_LIMIT:
        raise Invalid(f"partitions: more than {KEYS_LIMIT} keys")
    if len(set(keys)) < len(keys):
        raise Invalid("partitions: a key is named twice")
    for key in keys:
        if not _KEY.fullmatch(key):
            raise Invalid(f"partitions: {key!r} is no key; use 1 to 64 of A-Z a-z 0-9 . _ / -")
