"""The time of day as an argument: whoever needs it is given a `Clock`."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
Steady = Callable[[], float]
_STEADY = getattr(time, "CLOCK_BOOTTIME", None)


def system_clock() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


def steady_clock() -> float:
    """Seconds that have passed since some moment, those in which the machine slept too: it is never set."""
    return time.monotonic() if _STEADY is None else time.clock_gettime(_STEADY)
