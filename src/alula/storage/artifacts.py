"""Artifacts: versions of names, and what each name is partitioned by."""

import hashlib
import json
from datetime import datetime, timedelta

from alula.core.artifact import Artifact, ArtifactId, ArtifactName, Granularity, Partition, Published, Schema
from alula.storage import rows
from alula.storage.database import Row, Tx

_MICROSECOND = timedelta(microseconds=1)
_THIS_NAME = "project = :project AND domain = :domain AND name = :name"
SELECT = """
    SELECT a.*, n.schema FROM artifacts a
    JOIN artifact_names n ON n.project = a.project AND n.domain = a.domain AND n.name = a.name
"""


def _name(name: ArtifactName) -> dict[str, object]:
    return {"project": name.project, "domain": name.domain, "name": name.name}


def _schema_text(schema: Schema) -> str:
    return json.dumps({"time_key": schema.time_key, "granularity": schema.granularity, "keys": schema.keys})


def _schema(text: str) -> Schema:
    fields = json.loads(text)
    return Schema(fields["time_key"], Granularity(fields["granularity"]), tuple(fields["keys"]))


def _partition_digest(partition: Partition) -> bytes:
    time = rows.micros_or_none(partition.time)
    return hashlib.sha256(json.dumps([time, rows.labels_text(partition.values)]).encode()).digest()


def published(row: Row) -> Published:
    """A row of `SELECT`."""
    name = ArtifactName(row["project"], row["domain"], row["name"])
    artifact = Artifact(
        id=ArtifactId(name, row["version"]),
        digest=row["digest"],
        spec=row["spec"],
        metadata=rows.labels(row["metadata"]),
        partition=Partition(
            values=rows.labels(row["partitions"]),
            time_key=row["time_key"],
            granularity=Granularity(row["granularity"]),
            time=rows.time_or_none(row["starts_at"]),
        ),
        parents=tuple(
            ArtifactId(ArtifactName(project, domain, parent), version)
            for project, domain, parent, version in json.loads(row["parents"])
        ),
        run=row["run"],
        action=row["action"],
        external_ref=row["external_ref"],
        created_by=row["created_by"],
    )
    return Published(artifact, rows.time(row["created_at"]), _schema(row["schema"]))


async def find(tx: Tx, artifact: ArtifactId) -> Published | None:
    """One version."""
    where = "WHERE a.project = :project AND a.domain = :domain AND a.name = :name AND a.version = :version"
    row = await tx.one(SELECT + where, {**_name(artifact.name), "version": artifact.version})
    return published(row) if row else None


async def latest(tx: Tx, name: ArtifactName) -> Published | None:
    """The version of a name that was published last."""
    where = "WHERE n.project = :project AND n.domain = :domain AND n.name = :name AND a.version = n.latest"
    row = await tx.one(SELECT + where, _name(name))
    return published(row) if row else None


async def schema(tx: Tx, name: ArtifactName) -> tuple[Schema, bool] | None:
    """What a name is partitioned by, and whether that was declared; ``None`` for a name that nobody has used."""
    row = await tx.one(f"SELECT schema, declared FROM artifact_names WHERE {_THIS_NAME}", _name(name))  # noqa: S608
    return (_schema(row["schema"]), bool(row["declared"])) if row else None


async def declare(tx: Tx, name: ArtifactName, wanted: Schema) -> None:
    """Fix what a name is partitioned by; it stays what it is, if it is fixed already, and counts as declared."""
    await tx.execute(
        """
        INSERT INTO artifact_names VALUES (:project, :domain, :name, :schema, 1, 0, '', 0)
        ON CONFLICT (project, domain, name) DO UPDATE SET declared = 1
        """,
        {**_name(name), "schema": _schema_text(wanted)},
    )


async def insert(tx: Tx, artifact: Artifact, now: datetime) -> Published:
    """Write a version that is not there yet. The first one fixes what its name is partitioned by."""
    known = await tx.one(f"SELECT * FROM artifact_names WHERE {_THIS_NAME}", _name(artifact.id.name))  # noqa: S608
    at = now if known is None else max(now, rows.time(known["latest_at"]) + _MICROSECOND)
    fixed = artifact.partition.schema if known is None else _schema(known["schema"])
    await tx.execute(
        """
        INSERT INTO artifact_names VALUES (:project, :domain, :name, :schema, 0, 1, :version, :at)
        ON CONFLICT (project, domain, name) DO UPDATE SET versions = artifact_names.versions + 1,
            latest = excluded.latest, latest_at = excluded.latest_at
        """,
        {
            **_name(artifact.id.name),
            "schema": _schema_text(fixed),
            "version": artifact.id.version,
            "at": rows.micros(at),
        },
    )
    await _insert(tx, artifact, at)
    return Published(artifact, at, fixed)


async def _insert(tx: Tx, artifact: Artifact, at: datetime) -> None:
    partition = artifact.partition
    row = await tx.one(
        """
        INSERT INTO artifacts (project, domain, name, version, digest, spec, metadata, partitions, time_key,
            granularity, starts_at, partition_id, parents, run, action, external_ref, created_by, created_at)
        VALUES (:project, :domain, :name, :version, :digest, :spec, :metadata, :partitions, :time_key,
            :granularity, :starts_at, :partition_id, :parents, :run, :action, :external_ref, :created_by, :at)
        RETURNING key
        """,
        {
            **_name(artifact.id.name),
            "version": artifact.id.version,
            "digest": artifact.digest,
            "spec": artifact.spec,
            "metadata": rows.labels_text(artifact.metadata),
            "partitions": rows.labels_text(partition.values),
            "time_key": partition.time_key,
            "granularity": int(partition.granularity),
            "starts_at": rows.micros_or_none(partition.time),
            "partition_id": _partition_digest(partition),
            "parents": json.dumps([[*_name(p.name).values(), p.version] for p in artifact.parents]),
            "run": artifact.run,
            "action": artifact.action,
            "external_ref": artifact.external_ref,
            "created_by": artifact.created_by,
            "at": rows.micros(at),
        },
    )
    assert row is not None
    for parent in set(artifact.parents):
        await tx.execute(
            "INSERT INTO artifact_parents VALUES (:project, :domain, :name, :version, :child)",
            {**_name(parent.name), "version": parent.version, "child": row["key"]},
        )


async def remove(tx: Tx, artifact: ArtifactId) -> bool:
    """Forget one version; whether it was there. A name without versions is forgotten, too, unless it was declared."""
    values = {**_name(artifact.name), "version": artifact.version}
    row = await tx.one(f"SELECT key FROM artifacts WHERE {_THIS_NAME} AND version = :version", values)  # noqa: S608
    if row is None:
        return False
    await tx.execute("DELETE FROM artifact_parents WHERE child = :key", {"key": row["key"]})
    await tx.execute("DELETE FROM artifacts WHERE key = :key", {"key": row["key"]})
    left = await tx.one(
        f"SELECT version, created_at FROM artifacts WHERE {_THIS_NAME} ORDER BY created_at DESC LIMIT 1",  # noqa: S608
        _name(artifact.name),
    )
    await tx.execute(
        f"UPDATE artifact_names SET versions = versions - 1, latest = :latest, latest_at = :at WHERE {_THIS_NAME}",  # noqa: S608
        {
            **_name(artifact.name),
            "latest": left["version"] if left else "",
            "at": left["created_at"] if left else 0,
        },
    )
    forgotten = f"DELETE FROM artifact_names WHERE {_THIS_NAME} AND versions = 0 AND declared = 0"  # noqa: S608
    await tx.execute(forgotten, _name(artifact.name))
    return True
