"""The artifact service by raw calls. Case O21: none of it is unimplemented; the SDK's own use is in tests/e2e."""

from typing import Any

import pytest
from connectrpc.code import Code
from flyteidl2.artifact import artifact_pb2
from flyteidl2.artifact import artifact_service_pb2 as rpc
from flyteidl2.artifact.artifact_service_connect import ArtifactServiceClient
from flyteidl2.common import identifier_pb2, list_pb2
from flyteidl2.core import artifact_id_pb2, literals_pb2, types_pb2

from tests.api.caller import DOMAIN, PROJECT, refused
from tests.api.served import Served

SCOPE = identifier_pb2.ProjectIdentifier(organization="acme", name=PROJECT, domain=DOMAIN)


@pytest.fixture
def client(served: Served) -> ArtifactServiceClient:
    return served.client(ArtifactServiceClient)


def named(name: str, **fields: str) -> artifact_pb2.ArtifactName:
    return artifact_pb2.ArtifactName(**{"org": "acme", "project": PROJECT, "domain": DOMAIN, "name": name, **fields})


def creation(name: str, version: str, text: str = "s3://b/1", **spec: Any) -> rpc.CreateArtifactRequest:
    request = rpc.CreateArtifactRequest(
        artifact_id=artifact_pb2.ArtifactIdentifier(name=named(name), version=version),
        spec=artifact_pb2.ArtifactSpec(
            value=literals_pb2.Literal(), type=types_pb2.LiteralType(simple=types_pb2.STRING), **spec
        ),
    )
    request.spec.value.scalar.primitive.string_value = text
    return request


def region(value: str) -> artifact_id_pb2.Partitions:
    return artifact_id_pb2.Partitions(value={"region": artifact_id_pb2.LabelValue(static_value=value)})


def monthly(at: str) -> artifact_id_pb2.TimePartition:
    time = artifact_id_pb2.TimePartition(granularity=artifact_id_pb2.MONTH)
    time.value.time_value.FromJsonString(at)
    return time


async def test_create_and_get(client: ArtifactServiceClient) -> None:
    info = artifact_id_pb2.ArtifactInfo(description="d", card=artifact_id_pb2.ArtifactCard(uri="s3://b/card"))
    request = creation("made", "1", info=info, partitions=region("eu"), time_partition=monthly("2026-08-15T01:02:03Z"))
    made = (await client.create_artifact(request)).artifact
    assert made.artifact_id == request.artifact_id, "the organisation is echoed"
    assert made.spec.info == info
    assert made.spec.time_partition.key == "date"
    assert made.spec.time_partition.value.time_value.ToJsonString() == "2026-08-01T00:00:00Z"
    identity = made.spec.value.artifact_id
    assert (identity.key.name, identity.key.org, identity.version) == ("made", "acme", "1")
    assert made.created_by.user.id.subject
    for version in (None, "", "latest", "1"):
        got = await client.get_artifact(rpc.GetArtifactRequest(name=named("made"), version=version))
        assert got.artifact == made
    with refused(Code.NOT_FOUND, "made@2"):
        await client.get_artifact(rpc.GetArtifactRequest(name=named("made"), version="2"))
    other = await client.get_artifact(rpc.GetArtifactRequest(name=named("made", org="")))
    assert other.artifact.spec.value.artifact_id.key.org == ""


async def test_what_is_taken_and_what_is_refused(client: ArtifactServiceClient) -> None:
    first = await client.create_artifact(creation("taken", "1"))
    published = creation("taken", "1")
    published.spec.value.CopyFrom(first.artifact.spec.value)
    assert await client.create_artifact(published) == first, "also with the identity that it was given"
    with refused(Code.ALREADY_EXISTS, "taken@1"):
        await client.create_artifact(creation("taken", "1", "s3://b/2"))
    with refused(Code.FAILED_PRECONDITION, "partitioned by nothing"):
        await client.create_artifact(creation("taken", "2", partitions=region("eu")))
    with refused(Code.INVALID_ARGUMENT, "artifact_id.version"):
        await client.create_artifact(creation("taken", "latest"))
    with refused(Code.INVALID_ARGUMENT, "artifact_id.name.name"):
        await client.create_artifact(creation("a/b", "1"))
    unbound = artifact_id_pb2.Partitions(value={"region": artifact_id_pb2.LabelValue()})
    with refused(Code.INVALID_ARGUMENT, "spec.partitions", "static_value"):
        await client.create_artifact(creation("taken", "2", partitions=unbound))
    foreign = artifact_pb2.ArtifactSource()
    foreign.task_action.action.name = "a0"
    run = identifier_pb2.RunIdentifier(org="acme", project="other", domain=DOMAIN, name="r")
    foreign.task_action.action.run.CopyFrom(run)
    with refused(Code.INVALID_ARGUMENT, "spec.source.task_action"):
        await client.create_artifact(creation("taken", "2", source=foreign))
    ahead = artifact_id_pb2.TimePartition()
    with refused(Code.INVALID_ARGUMENT, "time_value"):
        await client.create_artifact(creation("taken", "2", time_partition=ahead))
    request = creation("taken", "2")
    request.artifact_id.name.domain = "nowhere"
    with refused(Code.NOT_FOUND, "nowhere"):
        await client.create_artifact(request)


async def test_lists(client: ArtifactServiceClient) -> None:
    for n in range(5):
        info = artifact_id_pb2.ArtifactInfo(user_metadata={f"key{n % 2}": "v"})
        await client.create_artifact(creation(f"list{n % 2}", f"{n}", info=info))
    listed = list_pb2.ListRequest(limit=2)
    request = rpc.ListArtifactsRequest(request=listed, project_id=SCOPE, name="list0")
    first = await client.list_artifacts(request)
    request.request.token = first.token
    second = await client.list_artifacts(request)
    assert [a.artifact_id.version for a in [*first.artifacts, *second.artifacts]] == ["4", "2", "0"]
    assert second.token == ""
    search = list_pb2.Filter(function=list_pb2.Filter.CONTAINS, field="name", values=["list"])
    names = await client.list_artifact_names(
        rpc.ListArtifactNamesRequest(request=list_pb2.ListRequest(filters=[search]), project_id=SCOPE)
    )
    assert [(g.latest.artifact_id.name.name, g.versions) for g in names.groups] == [("list0", 3), ("list1", 2)]
    keys = rpc.ListArtifactMetadataKeysRequest(project_id=SCOPE, name="list1")
    assert list((await client.list_artifact_metadata_keys(keys)).keys) == ["key1"]
    with refused(Code.INVALID_ARGUMENT, "200"):
        await client.list_artifacts(rpc.ListArtifactsRequest(request=list_pb2.ListRequest(limit=201), project_id=SCOPE))


async def test_delete_is_idempotent(client: ArtifactServiceClient) -> None:
    made = (await client.create_artifact(creation("gone", "1"))).artifact
    for _ in range(2):
        await client.delete_artifact(rpc.DeleteArtifactRequest(artifact_id=made.artifact_id))
    with refused(Code.NOT_FOUND, "gone"):
        await client.get_artifact(rpc.GetArtifactRequest(name=named("gone")))


async def test_schemas_and_partition_values(client: ArtifactServiceClient) -> None:
    schema = artifact_pb2.ArtifactPartitionSchema(partition_keys=["region"])
    schema.time_partition.key = "date"
    schema.time_partition.granularity = artifact_id_pb2.MONTH
    declared = await client.declare_artifact(rpc.DeclareArtifactRequest(name=named("parts"), partition_schema=schema))
    assert declared.partition_schema == schema
    told = await client.get_artifact_schema(rpc.GetArtifactSchemaRequest(name=named("parts")))
    assert (told.partition_schema, told.declared) == (schema, True)
    with refused(Code.FAILED_PRECONDITION, "partitioned by date (month), region"):
        empty = artifact_pb2.ArtifactPartitionSchema()
        await client.declare_artifact(rpc.DeclareArtifactRequest(name=named("parts"), partition_schema=empty))
    with refused(Code.NOT_FOUND, "neither"):
        await client.get_artifact_schema(rpc.GetArtifactSchemaRequest(name=named("unheard-of")))
    for n, (where, month) in enumerate([("us", 2), ("eu", 1), ("us", 1)]):
        at = monthly(f"2026-0{month}-20T00:00:00Z")
        await client.create_artifact(creation("parts", f"{n}", partitions=region(where), time_partition=at))

    async def values(key: str, limit: int = 0) -> list[str]:
        request = rpc.ListPartitionValuesRequest(
            request=list_pb2.ListRequest(limit=limit), project_id=SCOPE, name="parts", key=key
        )
        return list((await client.list_partition_values(request)).values)

    assert await values("region") == ["eu", "us"]
    assert await values("region", 1) == ["eu"]
    assert await values("date", 1000) == ["2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"]
    with refused(Code.INVALID_ARGUMENT, "key: "):
        await values("team")
    (group,) = (
        await client.list_artifact_names(
            rpc.ListArtifactNamesRequest(
                request=list_pb2.ListRequest(
                    filters=[list_pb2.Filter(function=list_pb2.Filter.EQUAL, field="name", values=["parts"])]
                ),
                project_id=SCOPE,
            )
        )
    ).groups
    assert group.partition_schema == schema
    assert group.latest_time_partition.ToJsonString() == "2026-02-01T00:00:00Z"
    assert [p.value["region"].static_value for p in group.latest_partitions] == ["us"]
