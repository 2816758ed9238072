"""The phases of an action and which may follow which. Numbers are those of `common.ActionPhase`."""

from enum import IntEnum


class Phase(IntEnum):
    """Where an action is in its life."""

    QUEUED = 1
    WAITING_FOR_RESOURCES = 2
    INITIALIZING = 3
    RUNNING = 4
    SUCCEEDED = 5
    FAILED = 6
    ABORTED = 7
    TIMED_OUT = 8
    PAUSED = 9
    RECOVERED = 10

    @property
    def terminal(self) -> bool:
        """Nothing but an explicit new attempt leaves a terminal phase."""
        return self in TERMINAL

    @property
    def success(self) -> bool:
        """Ended, and its outputs can be read."""
        return self in (Phase.SUCCEEDED, Phase.RECOVERED)


TERMINAL = frozenset({Phase.SUCCEEDED, Phase.FAILED, Phase.ABORTED, Phase.TIMED_OUT, Phase.RECOVERED})
UNSUCCESSFUL = frozenset({Phase.FAILED, Phase.ABORTED, Phase.TIMED_OUT})

# How far along an attempt is. PAUSED stands beside RUNNING: a condition waits there for its signal.
_ORDER = {
    Phase.QUEUED: 1,
    Phase.WAITING_FOR_RESOURCES: 2,
    Phase.INITIALIZING: 3,
    Phase.RUNNING: 4,
    Phase.PAUSED: 4,
}


def follows(current: Phase, later: Phase) -> bool:
    """Whether ``later`` may come after ``current`` within one attempt: forward only, and terminal is terminal."""
    if current.terminal:
        return False
    return later.terminal or _ORDER[later] >= _ORDER[current]
