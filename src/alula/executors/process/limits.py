"""What an attempt may take of the machine, and how it is held to that: by a control group, else by being watched.

The launcher's part. Standard library only.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from alula.core.launch import Resources
from alula.executors.process import cgroups, memory, words

_PERIOD = 100_000  # microseconds in which a CPU quota is spent: the kernel's own default
_QUOTA = 1_000  # microseconds: the kernel takes no smaller one
_PIDS = 32_768  # processes and threads: far from any task's need, and from what would hurt the machine
_NICE = 5  # of an attempt whose CPU can be limited in no other way
_SHARED = "/dev/shm"  # noqa: S108

Settings = tuple[tuple[str, str, str], ...]  # controller, file, text


@dataclass(frozen=True, slots=True)
class Asked:
    """What a task may not exceed: memory and disk in bytes, CPU in cores; 0: nothing is said of it."""

    memory: int = 0
    cpu: float = 0.0
    disk: int = 0
    devices: Sequence[str] = ()

    def __str__(self) -> str:
        parts = [
            f"{words.size(self.memory)} of memory" if self.memory else "",
            f"{self.cpu:g} CPU" if self.cpu else "",
            f"{words.size(self.disk)} of disk" if self.disk else "",
        ]
        return ", ".join(filter(None, parts))


def asked(resources: Resources, devices: tuple[str, ...]) -> dict[str, Any]:
    """For the message to the launcher."""
    limits = resources.limits
    return {"memory": limits.memory, "cpu": limits.cpu, "disk": limits.disk, "devices": list(devices)}


def notes(resources: Resources) -> tuple[str, ...]:
    """What an attempt is told that asks for more shared memory than there is: of it nothing can be limited."""
    wanted = resources.shared_memory
    with suppress(OSError):
        free = os.statvfs(_SHARED).f_bavail * os.statvfs(_SHARED).f_frsize
        if wanted > free:
            return (f"asked for {words.size(wanted)} of shared memory: {_SHARED} has {words.size(free)} left",)
    return ()


def settings(version: int, limits: Asked) -> Settings:
    """What to write into an attempt's control group, in this order. Swap is no memory: a limit is on both."""
    found: list[tuple[str, str, str]] = [("pids", "pids.max", str(_PIDS))]
    quota = max(_QUOTA, int(limits.cpu * _PERIOD))
    if version == 2:
        if limits.memory:
            found += [("memory", "memory.max", str(limits.memory)), ("memory", "memory.swap.max", "0")]
        if limits.cpu:
            found.append(("cpu", "cpu.max", f"{quota} {_PERIOD}"))
    else:
        if limits.memory:
            names = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
            found += [("memory", name, str(limits.memory)) for name in names]
        if limits.cpu:
            found += [("cpu", "cpu.cfs_period_us", str(_PERIOD)), ("cpu", "cpu.cfs_quota_us", str(quota))]
    return tuple(found)


@dataclass(slots=True)
class Held:
    """An attempt, and what it is held to."""

    limits: Asked
    group: cgroups.Group | None = None
    watched: bool = False  # its memory has a limit, and no group keeps it

    def __str__(self) -> str:
        """For the log: what it may have, and who sees to that."""
        if not str(self.limits):
            return ""
        return f" (at most {self.limits}{', watched' if self.watched else ''})"

    def enter(self, pid: int = 0) -> None:
        """Put a process of the attempt into its group; 0: the one that calls. Without a group it yields to others."""
        if self.group is not None:
            self.group.enter(pid)
        elif self.limits.cpu:
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, pid, _NICE)


class Limits:
    """What the launcher's attempts are held to.

    An attempt is held before its process exists (`hold`), and the process enters before code of a user's runs in it
    (`Held.enter`): by itself, or by its pid. When all of it is gone, `release` says what it used.
    """

    def __init__(self, home: Path, identity: str) -> None:
        self._groups = cgroups.claim(home, identity)
        self._oom = memory.OomCounter()
        self._held: dict[str, Held] = {}

    def hold(self, name: str, folder: str, told: Mapping[str, Any] | None) -> Held:
        """Make an attempt's group. ``folder`` names it, ``told`` is what `asked` has made."""
        limits = Asked(**told or {})
        group = self._groups.make(folder) if self._groups is not None else None
        held = Held(limits, group)
        kept = set()
        for controller, file, text in settings(group.version, limits) if group is not None else ():
            if group is not None and group.write(controller, file, text):
                kept.add(controller)
        held.watched = bool(limits.memory) and "memory" not in kept
        self._held[name] = held
        return held

    def members(self, name: str) -> list[int]:
        """The processes in an attempt's group."""
        held = self._held.get(name)
        return held.group.pids() if held is not None and held.group is not None else []

    def meter(self, name: str) -> dict[str, Any] | None:
        """What the recorder needs to know to watch and to measure it; ``None``: it has no process."""
        held = self._held.get(name)
        if held is None:
            return None
        group = None if held.group is None else {"version": held.group.version, "folders": dict(held.group.folders)}
        return {"limits": asdict(held.limits), "group": group, "watched": held.watched}

    def release(self, name: str, record: Mapping[str, Any], *, killed: bool) -> dict[str, Any]:
        """Nothing of the attempt is left: what its group counted, and whether it ran out of memory.

        ``killed``: SIGKILL was sent by us.
        """
        held = self._held.pop(name, None)
        if held is None:
            return {}
        if held.group is None or self._groups is None:
            signalled = record.get("signal") == 9
            return {"out_of_memory": signalled and not killed and self._oom.grew()}
        said: dict[str, Any] = {"out_of_memory": bool(held.group.kills())}
        if (cpu := held.group.cpu()) is not None:
            said["cpu"] = cpu
        if (peak := held.group.peak()) is not None:
            said["peak"] = peak
        self._groups.remove(held.group)
        return said

    def close(self) -> None:
        """No attempt is left."""
        if self._groups is not None:
            self._groups.close()
