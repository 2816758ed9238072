"""What an attempt used of the machine, over time. Values, and how many of them are kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from alula.core.launch import Amounts

MOST = 2000  # samples that are kept of an attempt, however long it runs


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU at one moment: how busy (0 to 1), and the bytes of its memory that are in use, by whomever."""

    name: str
    busy: float
    memory: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at an attempt, ``at`` seconds after its start.

    ``cpu`` is the CPU time of all its processes since the start, in seconds: the use of cores between two samples is
    their difference. ``memory`` in bytes; of samples that were merged, the most of it.
    """

    at: float
    cpu: float
    memory: int
    devices: tuple[Device, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """All that is known of an attempt. ``peak`` is the most memory it had, in bytes; ``timings`` are parts of its time
    in seconds, by name; ``exact``: its processes were counted by the kernel as one group, and shared memory once.
    """

    started_at: datetime
    ended_at: datetime | None
    limits: Amounts
    exact: bool
    samples: Sequence[Sample]
    cpu: float
    peak: int
    timings: Mapping[str, float] = field(default_factory=dict)


def merged(first: Sample, second: Sample) -> Sample:
    """Two samples that follow each other as one: nothing of CPU time is lost, nor the most memory."""
    return Sample(second.at, second.cpu, max(first.memory, second.memory), second.devices or first.devices)


def thinned(samples: Sequence[Sample]) -> list[Sample]:
    """Half as many; the last one stays the last."""
    odd = len(samples) % 2
    pairs = zip(samples[odd::2], samples[odd + 1 :: 2], strict=True)
    return [*samples[:odd], *(merged(first, second) for first, second in pairs)]


def cores(samples: Sequence[Sample]) -> list[float]:
    """The cores in use up to each sample, since the one before it."""
    before, found = Sample(0.0, 0.0, 0), []
    for sample in samples:
        seconds = sample.at - before.at
        found.append(max(0.0, sample.cpu - before.cpu) / seconds if seconds > 0 else 0.0)
        before = sample
    return found
