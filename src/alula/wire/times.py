"""Times and durations."""

from datetime import UTC, datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from alula.core.errors import Invalid

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def timestamp(at: datetime) -> Timestamp:
    """A time as a message."""
    micros = (at - _EPOCH) // timedelta(microseconds=1)
    return Timestamp(seconds=micros // 1_000_000, nanos=micros % 1_000_000 * 1000)


def optional(at: datetime | None) -> Timestamp | None:
    return None if at is None else timestamp(at)


def time(message: Timestamp) -> datetime:
    """A message as a time, to the microsecond. `Invalid` outside the years 1 to 9999."""
    try:
        return _EPOCH + timedelta(seconds=message.seconds, microseconds=message.nanos // 1000)
    except OverflowError:
        raise Invalid(f"{message.seconds} seconds since 1970 is no time: use the years 1 to 9999") from None


def seconds(message: Duration) -> float:
    return message.seconds + message.nanos / 1e9
