"""Artifacts, their partitions and where they come from."""

import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from flyteidl2.artifact import artifact_pb2 as pb
from flyteidl2.artifact import artifact_service_pb2 as rpc
from flyteidl2.common import identifier_pb2, identity_pb2
from flyteidl2.core import artifact_id_pb2, literals_pb2
from flyteidl2.task import common_pb2
from google.protobuf.message import DecodeError

from alula.core.action import Action
from alula.core.artifact import (
    Artifact,
    ArtifactId,
    ArtifactName,
    ArtifactScope,
    Granularity,
    Group,
    Partition,
    Published,
    Schema,
    floor,
)
from alula.core.errors import Invalid
from alula.wire import ids, times

_DEFAULT_KEYS = {Granularity.MINUTE: "minute", Granularity.HOUR: "hour"}  # the SDK's; all others are "date"


def name(message: pb.ArtifactName) -> ArtifactName:
    return ArtifactName(message.project, message.domain, message.name)


def name_in(project: identifier_pb2.ProjectIdentifier, only: str) -> ArtifactName:
    return ArtifactName(project.name, project.domain, only)


def identifier(message: pb.ArtifactIdentifier) -> ArtifactId:
    return ArtifactId(name(message.name), message.version)


def scope(
    project: identifier_pb2.ProjectIdentifier, only: str = "", *, latest_per_partition: bool = False
) -> ArtifactScope:
    return ArtifactScope(project.name, project.domain, only, latest_per_partition)


def artifact(artifact_id: ArtifactId, message: pb.ArtifactSpec, created_by: str) -> Artifact:
    """A version to publish. Its value's own identity is left out: that is told by where it is found."""
    spec = pb.ArtifactSpec()
    spec.CopyFrom(message)
    spec.value.ClearField("artifact_id")
    part = partition(spec)
    if part.time is not None:
        spec.time_partition.CopyFrom(_time_message(part))
    source = spec.source.task_action.action
    if source.name and (source.run.project, source.run.domain) != (artifact_id.name.project, artifact_id.name.domain):
        raise Invalid("spec.source.task_action: an artifact comes from an action of its own project and domain")
    return Artifact(
        id=artifact_id,
        digest=_digest(spec),
        spec=spec.SerializeToString(deterministic=True),
        metadata=dict(spec.info.user_metadata),
        partition=part,
        parents=tuple(_parent(parent, artifact_id.name) for parent in spec.parent_artifacts),
        run=source.run.name,
        action=source.name,
        external_ref=spec.source.external_ref,
        created_by=created_by,
    )


def _digest(spec: pb.ArtifactSpec) -> bytes:
    """Of what makes a version. A value whose content has a hash is that content, wherever it was uploaded to."""
    content = pb.ArtifactSpec()
    content.CopyFrom(spec)
    content.ClearField("source")
    if spec.value.hash:
        content.value.Clear()
        content.value.hash = spec.value.hash
    return hashlib.sha256(content.SerializeToString(deterministic=True)).digest()


def _parent(message: artifact_id_pb2.ArtifactVersionId, child: ArtifactName) -> ArtifactId:
    """What a parent leaves out is as its child's (SDK: `parents_to_pb2`)."""
    key = message.key
    return ArtifactId(
        ArtifactName(key.project or child.project, key.domain or child.domain, key.name or child.name), message.version
    )


def partition(spec: pb.ArtifactSpec) -> Partition:
    """The partition of a version; its time is that of the partition's start, which clients need not know."""
    values = {}
    for key, label in spec.partitions.value.items():
        if label.WhichOneof("value") != "static_value":
            raise Invalid(f"spec.partitions: {key!r} needs a static_value: a version is one partition")
        values[key] = label.static_value
    if not spec.HasField("time_partition"):
        return Partition(values)
    if spec.time_partition.value.WhichOneof("value") != "time_value":
        raise Invalid("spec.time_partition: needs a time_value")
    unit = _granularity(spec.time_partition.granularity)
    at = floor(times.time(spec.time_partition.value.time_value), unit)
    return Partition(values, spec.time_partition.key or _DEFAULT_KEYS.get(unit, "date"), unit, at)


def _granularity(number: int) -> Granularity:
    try:
        return Granularity(number) or Granularity.DAY
    except ValueError:
        raise Invalid(f"granularity: {number} is none that this server knows") from None


def _time_message(part: Partition) -> artifact_id_pb2.TimePartition:
    assert part.time is not None
    value = artifact_id_pb2.LabelValue(time_value=times.timestamp(part.time))
    return artifact_id_pb2.TimePartition(value=value, granularity=part.granularity.name, key=part.time_key)


def schema(message: pb.ArtifactPartitionSchema) -> Schema:
    if not message.HasField("time_partition"):
        return Schema(keys=tuple(message.partition_keys))
    unit = _granularity(message.time_partition.granularity)
    return Schema(message.time_partition.key, unit, tuple(message.partition_keys))


def schema_message(value: Schema) -> pb.ArtifactPartitionSchema:
    message = pb.ArtifactPartitionSchema(partition_keys=value.keys)
    if value.time_key:
        time = pb.TimePartitionKey(key=value.time_key, granularity=value.granularity.name)
        message.time_partition.CopyFrom(time)
    return message


def message(published: Published, org: str) -> pb.Artifact:
    """A version as it is told: its value carries the version's identity, so that it travels with it."""
    version = published.artifact
    named = version.id.name
    spec = pb.ArtifactSpec.FromString(version.spec)
    key = artifact_id_pb2.ArtifactKey(org=org, project=named.project, domain=named.domain, name=named.name)
    spec.value.artifact_id.CopyFrom(artifact_id_pb2.ArtifactVersionId(key=key, version=version.id.version))
    told = pb.Artifact(
        artifact_id=pb.ArtifactIdentifier(
            name=pb.ArtifactName(org=org, project=named.project, domain=named.domain, name=named.name),
            version=version.id.version,
        ),
        spec=spec,
        created_at=times.timestamp(published.created_at),
    )
    if version.created_by:
        user = identity_pb2.User(id=identifier_pb2.UserIdentifier(subject=version.created_by))
        told.created_by.CopyFrom(identity_pb2.EnrichedIdentity(user=user))
    if published.mismatch:
        told.partition_schema_mismatch.CopyFrom(
            pb.PartitionSchemaMismatch(
                expected=schema_message(published.schema),
                actual=schema_message(version.partition.schema),
                message=published.mismatch,
            )
        )
    return told


def group_message(group: Group, org: str) -> rpc.ArtifactGroup:
    partitions = [
        artifact_id_pb2.Partitions(
            value={key: artifact_id_pb2.LabelValue(static_value=text) for key, text in values.items()}
        )
        for values in group.partitions
    ]
    return rpc.ArtifactGroup(
        latest=message(group.latest, org),
        versions=group.versions,
        partition_schema=schema_message(group.latest.schema),
        latest_time_partition=times.optional(group.time),
        latest_partitions=partitions,
    )


def values(found: Sequence[str] | Sequence[datetime]) -> list[str]:
    """Values of a partition key; times in RFC 3339."""
    return [value if isinstance(value, str) else _rfc3339(value) for value in found]


def _rfc3339(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


class Declared(NamedTuple):
    """What an action's outputs say of one of them."""

    name: str
    output: str
    version: str  # as declared; or "", and for a second version of a name in the same outputs, what tells them apart
    message: common_pb2.ProducedArtifact
    value: literals_pb2.Literal | None


def declarations(body: bytes) -> Iterator[Declared]:
    """The artifacts that outputs (serialised task.Outputs) declare. Bytes that are none declare nothing."""
    try:
        outputs = common_pb2.Outputs.FromString(body)
    except DecodeError:
        return
    literals = {literal.name: literal.value for literal in outputs.literals}
    unversioned = set()
    for declared in outputs.produced_artifacts:
        suffix = f"-{declared.output}" if not declared.version and declared.name in unversioned else ""
        unversioned |= set() if declared.version else {declared.name}
        yield Declared(
            declared.name, declared.output, declared.version or suffix, declared, literals.get(declared.output)
        )


def produced(declared: Declared, action: Action) -> Artifact:
    """An artifact that an action declares; without a version, it is ``<run>-<action>-<attempt>`` (the proto's rule).

    Attempts are counted from 0 here, as the tasks themselves count them (`artifact.TaskActionSource`).
    """
    if declared.value is None:
        raise Invalid(f"there is no output {declared.output!r}")
    run = action.id.run
    version = declared.version
    if not declared.message.version:
        version = f"{run.name}-{action.id.name}-{action.attempt - 1}{declared.version}"
    source = pb.TaskActionSource(action=ids.action_message(action.id, action.org), attempt=action.attempt - 1)
    spec = pb.ArtifactSpec(
        value=declared.value,
        type=declared.message.type,
        info=declared.message.info,
        source=pb.ArtifactSource(task_action=source),
        parent_artifacts=declared.message.parent_artifacts,
    )
    if declared.message.HasField("partitions"):
        spec.partitions.CopyFrom(declared.message.partitions)
    if declared.message.HasField("time_partition"):
        spec.time_partition.CopyFrom(declared.message.time_partition)
    named = ArtifactName(run.project, run.domain, declared.name)
    return artifact(ArtifactId(named, version), spec, action.created_by)
