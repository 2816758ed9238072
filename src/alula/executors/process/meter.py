"""The meter: measures attempts while they run, and ends those that take more than they may where no group keeps them.

It is a thread of the recorder, so that neither logs nor the start of attempts wait for it. Standard library only.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alula.core.usage import Device, Sample
from alula.executors.process import disk, gpus, processes, tree, usage, words
from alula.executors.process.cgroups import Group

_FIRST = 0.25  # seconds until an attempt is measured for the first time
_EVERY = 2.0
_WATCHED = 0.5  # for an attempt whose memory nobody else limits
_TOGETHER = 0.1  # seconds by which one is measured early, for not having to look twice
_DISK = 5.0
_LAZY = 50  # measuring a disk takes at most one part in so many of the time
_GPUS = 4.0


@dataclass(slots=True)
class Measured:
    """An attempt that is measured."""

    name: str
    pid: int
    born: int  # when the main process was started, see `tree.started`
    process: int  # a descriptor of it; -1: it was gone already, or this kernel has none
    started_ns: int
    folders: tuple[str, ...]
    limits: Mapping[str, Any]
    group: Group | None
    watched: bool
    curve: usage.Curve
    due: float = 0.0
    sample_due: float = 0.0
    disk_due: float = 0.0
    cpu: float = 0.0  # the last that was seen, as is the next
    memory: int = 0
    verdict: dict[str, Any] = field(default_factory=dict)  # why it was ended by us


class Meter:
    """Start it before the first attempt; it runs as long as the program."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._measured: dict[str, Measured] = {}
        self._changed = threading.Condition()
        self._next = 0.0
        self._devices: dict[str, Device] = {}
        self._devices_due = 0.0

    def start(self) -> None:
        threading.Thread(target=self._run, name="meter", daemon=True).start()

    def open(self, name: str, process: Mapping[str, Any], folder: Path, told: Mapping[str, Any]) -> None:
        """An attempt has begun. ``told`` is what `Limits.meter` says of it."""
        started_ns = time.time_ns()
        group = Group(**told["group"]) if told["group"] is not None else None
        head = {"started_ns": started_ns, "limits": told["limits"], "exact": group is not None and group.counts}
        one = Measured(
            name, process["pid"], process["started"], _descriptor(process), started_ns,
            (str(folder / "work"), str(folder / "tmp")), told["limits"], group, told["watched"],
            usage.Curve(self._folder / f"{name}.jsonl", head),
        )  # fmt: skip
        now = time.monotonic()
        one.due, one.disk_due = now + _FIRST, now + _DISK
        with self._changed:
            self._measured[name] = one
            if one.due < self._next or len(self._measured) == 1:
                self._changed.notify()

    def end(self, name: str, record: dict[str, Any], say: str) -> str:
        """An attempt is over. Adds to the record of its end what is known here, and to the last line of its log."""
        with self._changed:
            one = self._measured.pop(name, None)
        if one is None:
            return say
        if one.process >= 0:
            os.close(one.process)
        record |= one.verdict
        seen = max(one.curve.most, words.resident(record))
        counted = record.get("peak")  # by the group: files included, and left out what is shared with the launcher
        if counted is None or not record.get("out_of_memory"):
            record["peak"] = seen if counted is None else min(seen, counted)
        record["cpu"] = max(one.cpu, record.get("cpu", 0.0))
        ended_ns = record["ended_ns"]
        memory = record["peak"] if record.get("out_of_memory") or not one.memory else one.memory
        one.curve.add(Sample((ended_ns - one.started_ns) / 1e9, record["cpu"], memory))
        kept = ("ended_ns", "cpu", "peak", "timings_ns")
        one.curve.end({key: record[key] for key in kept if key in record})
        return words.ended(say, record, one.limits["memory"])

    # The thread

    def _run(self) -> None:
        while True:
            with self._changed:
                now = time.monotonic()
                self._next = min((one.due for one in self._measured.values()), default=now + 3600.0)
                if self._next > now:
                    self._changed.wait(self._next - now)
            self.measure(time.monotonic())

    def measure(self, now: float) -> None:
        """Measure those whose time has come."""
        with self._changed:
            due = [one for one in self._measured.values() if one.due <= now + _TOGETHER]
        if not any(one.due <= now for one in due):
            return
        found = _Families(due)
        if any(one.limits["devices"] for one in due) and now >= self._devices_due:
            self._devices, self._devices_due = gpus.devices(), now + _GPUS
        for one in due:
            one.due = now + (_WATCHED if one.watched else _EVERY)
            cpu, memory = found.of(one)
            with self._changed:
                if one.name not in self._measured:
                    continue
                one.cpu, one.memory = max(one.cpu, cpu), memory
                devices = tuple(self._devices[name] for name in one.limits["devices"] if name in self._devices)
                if one.sample_due <= now + _TOGETHER:
                    one.sample_due = now + _EVERY
                    one.curve.add(Sample((time.time_ns() - one.started_ns) / 1e9, one.cpu, memory, devices))
            limit = one.limits["memory"]
            if one.watched and memory > limit and (used := found.exactly(one)) > limit:
                self._end(one, {"out_of_memory": True, "peak": used})
            if one.limits["disk"] and one.disk_due <= now:
                self._weigh(one)

    def _weigh(self, one: Measured) -> None:
        began = time.monotonic()
        used, limit = disk.taken(one.folders), one.limits["disk"]
        now = time.monotonic()
        one.disk_due = now + max(_DISK, _LAZY * (now - began))
        if used > limit:
            self._end(one, {"exceeded": words.too_much_disk(used, limit)})

    def _end(self, one: Measured, verdict: dict[str, Any]) -> None:
        """End the main process; the launcher ends what is left of the attempt."""
        with self._changed:
            if one.name in self._measured:
                one.verdict = one.verdict or verdict
                with suppress(OSError):
                    if one.process >= 0:
                        signal.pidfd_send_signal(one.process, signal.SIGKILL)
                    elif one.pid and tree.started(one.pid) == one.born:
                        os.kill(one.pid, signal.SIGKILL)


class _Families:
    """What attempts use at one moment. The machine's processes are looked at once, and only if somebody asks."""

    def __init__(self, due: list[Measured]) -> None:
        self._roots = {one.pid for one in due if one.watched or one.group is None or not one.group.counts}
        self._processes = processes.every() if self._roots else {}
        self._families = processes.families(self._processes, self._roots)

    def of(self, one: Measured) -> tuple[float, int]:
        """CPU time in seconds, memory in bytes."""
        pids = self._families.get(one.pid, [])
        cpu = one.group.cpu() if one.group is not None else None
        memory = one.group.memory() if one.group is not None else None
        if cpu is None:
            cpu = sum(self._processes[pid].cpu for pid in pids)
        if memory is None:
            memory = sum(self._processes[pid].resident for pid in pids)
        return cpu, memory

    def exactly(self, one: Measured) -> int:
        """Bytes of memory, without counting twice what is shared, if the kernel says that."""
        return processes.shared_out(self._families.get(one.pid, [])) or self.of(one)[1]


def _descriptor(process: Mapping[str, Any]) -> int:
    """Of the process that is meant, and of no other that has its pid by now."""
    opened: Callable[[int], int] | None = getattr(os, "pidfd_open", None)
    with suppress(OSError):
        if opened is not None and process["pid"]:
            descriptor = opened(process["pid"])
            if tree.started(process["pid"]) == process["started"]:
                return descriptor
            os.close(descriptor)
    return -1
