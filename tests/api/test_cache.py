"""The cache service, both versions, by raw calls. Cases C33 and C40: version 1 answers, and shares no key with 2."""

from datetime import UTC, datetime, timedelta

import pytest
from connectrpc.code import Code
from flyteidl2.cacheservice import cacheservice_pb2 as pb
from flyteidl2.cacheservice.cacheservice_connect import CacheServiceClient
from flyteidl2.cacheservice.v2 import cacheservice_pb2 as v2
from flyteidl2.cacheservice.v2.cacheservice_connect import CacheServiceClient as ScopedClient
from flyteidl2.core import identifier_pb2, literals_pb2
from google.protobuf.duration_pb2 import Duration

from tests.api.caller import refused
from tests.api.served import Served

HERE = v2.Identifier(project="a-b", domain="c")


@pytest.fixture
def client(served: Served) -> CacheServiceClient:
    return served.client(CacheServiceClient)


@pytest.fixture
def scoped(served: Served) -> ScopedClient:
    return served.client(ScopedClient)


def put(key: str, uri: str = "", **overwrite: object) -> pb.PutCacheRequest:
    output = pb.CachedOutput(output_uri=uri) if uri else pb.CachedOutput()
    return pb.PutCacheRequest(key=key, output=output, overwrite=pb.OverwriteOutput(**overwrite))  # type: ignore[arg-type]


async def test_literals_and_metadata_come_back(client: CacheServiceClient) -> None:
    request = put("literals")
    request.output.output_literals.literals["x"].scalar.primitive.integer = 2**60
    source = identifier_pb2.Identifier(project="p", domain="d", name="t", version="1")
    request.output.metadata.source_identifier.CopyFrom(source)
    request.output.metadata.key_map.values["who"] = "me"
    request.output.metadata.created_at.FromJsonString("2020-01-02T03:04:05Z")
    await client.put(request)
    output = (await client.get(pb.GetCacheRequest(key="literals"))).output
    assert output.output_literals == request.output.output_literals
    assert output.metadata.source_identifier == source
    assert dict(output.metadata.key_map.values) == {"who": "me"}
    assert output.metadata.created_at == request.output.metadata.created_at
    age = datetime.now(UTC) - output.metadata.last_updated_at.ToDatetime(UTC)
    assert timedelta(0) <= age < timedelta(minutes=1)
    empty = put("empty")
    empty.output.output_literals.CopyFrom(literals_pb2.LiteralMap())
    await client.put(empty)
    assert (await client.get(pb.GetCacheRequest(key="empty"))).output.WhichOneof("output") == "output_literals"


async def test_put_get_delete(client: CacheServiceClient) -> None:
    with refused(Code.NOT_FOUND):
        await client.get(pb.GetCacheRequest(key="k1"))
    await client.put(put("k1", "s3://b/1"))
    with refused(Code.ALREADY_EXISTS, "overwrite"):
        await client.put(put("k1", "s3://b/2"))
    with refused(Code.ALREADY_EXISTS):
        await client.put(put("k1", "s3://b/2", max_age=Duration(seconds=3600)))
    await client.put(put("k1", "s3://b/3", overwrite=True, delete_blob=True))
    assert (await client.get(pb.GetCacheRequest(key="k1"))).output.output_uri == "s3://b/3"
    await client.delete(pb.DeleteCacheRequest(key="k1"))
    with refused(Code.NOT_FOUND):
        await client.delete(pb.DeleteCacheRequest(key="k1"))


async def test_what_is_refused(client: CacheServiceClient, scoped: ScopedClient) -> None:
    with refused(Code.INVALID_ARGUMENT, "key: "):
        await client.get(pb.GetCacheRequest())
    with refused(Code.INVALID_ARGUMENT, "key: "):
        await client.get(pb.GetCacheRequest(key="k" * 8193))
    with refused(Code.INVALID_ARGUMENT, "output: "):
        await client.put(put("k2"))
    with refused(Code.INVALID_ARGUMENT, "owner_id: "):
        await client.get_or_extend_reservation(pb.GetOrExtendReservationRequest(key="k2"))
    with refused(Code.INVALID_ARGUMENT, "identifier"):
        await scoped.get(v2.GetCacheRequest(base_request=pb.GetCacheRequest(key="k")))
    with refused(Code.INVALID_ARGUMENT, "key: "):
        await scoped.get(v2.GetCacheRequest(identifier=HERE))


async def test_places_and_versions_share_nothing(client: CacheServiceClient, scoped: ScopedClient) -> None:
    other = v2.Identifier(project="a", domain="b-c")
    key = "x" * 2048
    await client.put(put(key, "s3://b/v1"))
    await scoped.put(v2.PutCacheRequest(identifier=HERE, base_request=put(key, "s3://b/here")))
    with refused(Code.NOT_FOUND):
        await scoped.get(v2.GetCacheRequest(identifier=other, base_request=pb.GetCacheRequest(key=key)))
    with_org = v2.Identifier(org="acme", project="a-b", domain="c")
    got = await scoped.get(v2.GetCacheRequest(identifier=with_org, base_request=pb.GetCacheRequest(key=key)))
    assert got.output.output_uri == "s3://b/here"
    await scoped.delete(v2.DeleteCacheRequest(identifier=HERE, base_request=pb.DeleteCacheRequest(key=key)))
    assert (await client.get(pb.GetCacheRequest(key=key))).output.output_uri == "s3://b/v1"


async def test_reservations(client: CacheServiceClient, scoped: ScopedClient) -> None:
    def asking(owner: str, seconds: int = 0) -> pb.GetOrExtendReservationRequest:
        return pb.GetOrExtendReservationRequest(key="r", owner_id=owner, heartbeat_interval=Duration(seconds=seconds))

    mine = (await client.get_or_extend_reservation(asking("me", 60))).reservation
    assert (mine.key, mine.owner_id, mine.heartbeat_interval.seconds) == ("r", "me", 10)
    lease = mine.expires_at.ToDatetime(UTC) - datetime.now(UTC)
    assert timedelta(seconds=20) < lease <= timedelta(seconds=30)
    yours = (await client.get_or_extend_reservation(asking("you"))).reservation
    assert yours == mine
    inside = v2.GetOrExtendReservationRequest(identifier=HERE, base_request=asking("you"))
    assert (await scoped.get_or_extend_reservation(inside)).reservation.owner_id == "you"
    for owner in ("you", "me", "me"):
        await client.release_reservation(pb.ReleaseReservationRequest(key="r", owner_id=owner))
    assert (await client.get_or_extend_reservation(asking("you"))).reservation.owner_id == "you"
    leaving = v2.ReleaseReservationRequest(
        identifier=HERE, base_request=pb.ReleaseReservationRequest(key="r", owner_id="you")
    )
    await scoped.release_reservation(leaving)
