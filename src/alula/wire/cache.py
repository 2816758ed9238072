"""Cached results and reservations."""

from datetime import timedelta

from flyteidl2.cacheservice import cacheservice_pb2 as pb
from flyteidl2.cacheservice.v2 import cacheservice_pb2 as v2
from flyteidl2.core import literals_pb2
from google.protobuf.duration_pb2 import Duration

from alula.core.cache import CacheKey, Entry, Offer, Reservation
from alula.wire import times


def scoped(identifier: v2.Identifier, key: str) -> CacheKey:
    """A key in its project and domain. The organisation is no part of it."""
    return CacheKey(identifier.project, identifier.domain, key)


def offer(message: pb.PutCacheRequest) -> Offer:
    metadata = pb.Metadata()
    metadata.CopyFrom(message.output.metadata)
    metadata.ClearField("created_at")
    metadata.ClearField("last_updated_at")
    given = message.output.metadata
    return Offer(
        uri=message.output.output_uri,
        literals=_literals(message.output),
        metadata=metadata.SerializeToString(deterministic=True),
        created_at=times.time(given.created_at) if given.HasField("created_at") else None,
        max_age=duration(message.overwrite.max_age),
        overwrite=message.overwrite.overwrite,
    )


def _literals(output: pb.CachedOutput) -> bytes | None:
    if not output.HasField("output_literals"):
        return None
    return output.output_literals.SerializeToString(deterministic=True)


def duration(message: Duration) -> timedelta:
    """A duration; one that is negative is none, and one that no timedelta can hold is as long as can be."""
    try:
        return max(timedelta(seconds=message.seconds, microseconds=message.nanos // 1000), timedelta(0))
    except OverflowError:
        return timedelta.max


def output_message(entry: Entry) -> pb.CachedOutput:
    metadata = pb.Metadata.FromString(entry.metadata)
    metadata.created_at.CopyFrom(times.timestamp(entry.created_at))
    metadata.last_updated_at.CopyFrom(times.timestamp(entry.updated_at))
    if entry.source:
        metadata.key_map.values["source"] = entry.source
    if entry.literals is None:
        return pb.CachedOutput(output_uri=entry.uri, metadata=metadata)
    literals = literals_pb2.LiteralMap.FromString(entry.literals)
    return pb.CachedOutput(output_literals=literals, metadata=metadata)


def reservation_message(held: Reservation, key: str) -> pb.Reservation:
    heartbeat = Duration()
    heartbeat.FromTimedelta(held.heartbeat)
    return pb.Reservation(
        key=key, owner_id=held.owner, heartbeat_interval=heartbeat, expires_at=times.timestamp(held.expires_at)
    )
