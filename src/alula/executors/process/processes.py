"""What the processes of this machine use, attempt by attempt, where no control group counts it.

Standard library only.
"""

import os
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from alula.executors.process import cgroups

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Process:
    """``cpu``: seconds, those of its children that it has waited for included. ``resident``: bytes."""

    parent: int
    session: int
    cpu: float
    resident: int


def every() -> dict[int, Process]:
    """All processes of the machine; none where there is no /proc."""
    found = {}
    with suppress(OSError):
        for entry in os.listdir("/proc"):
            if entry.isdecimal() and (process := parse(cgroups.read(f"/proc/{entry}/stat"))) is not None:
                found[int(entry)] = process
    return found


def parse(stat: str) -> Process | None:
    """A /proc/<pid>/stat; ``None``: it is of a process that is gone."""
    fields = stat.rpartition(")")[2].split()
    if len(fields) < 22:
        return None
    cpu = sum(map(int, fields[11:15])) / _TICK
    return Process(int(fields[1]), int(fields[3]), cpu, int(fields[21]) * _PAGE)


def families(processes: Mapping[int, Process], roots: Collection[int]) -> dict[int, list[int]]:
    """The processes of each root: what is below it, and orphans of its session."""
    found: dict[int, list[int]] = {root: [] for root in roots}
    owners: dict[int, int] = {root: root for root in roots}
    for pid in processes:
        path: list[int] = []
        at = pid
        while at not in owners and (process := processes.get(at)) is not None:
            path.append(at)
            owners[at] = 0  # should there be a circle
            at = process.parent
        owner = owners.get(at, 0)
        for one in reversed(path):
            owner = owner or (processes[one].session if processes[one].session in roots else 0)
            owners[one] = owner
        if owners.get(pid):
            found[owners[pid]].append(pid)
    return found


def shared_out(pids: Iterable[int]) -> int:
    """The bytes that processes have in memory, those that several share divided among them. A millisecond each."""
    total = 0
    for pid in pids:
        for line in cgroups.read(f"/proc/{pid}/smaps_rollup").splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total
