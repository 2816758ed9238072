"""When to look at a job again of which nobody tells."""

import zlib
from datetime import timedelta

_SOONEST, _LATEST = timedelta(seconds=1), timedelta(seconds=30)
_PART = 10  # of its age: so much later
_SPREAD = 0.2  # of that: so much sooner or later, each job in its own way


def pause(name: str, age: timedelta) -> timedelta:
    """How long a job is not looked at: the longer, the older it is; and not all jobs at the same time."""
    spread = 1 + _SPREAD * (zlib.crc32(name.encode()) / 0xFFFFFFFF - 0.5)
    return min(max(age / _PART, _SOONEST), _LATEST) * spread
