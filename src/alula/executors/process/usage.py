"""What an attempt used, as a file beside its log, and as long-lived. For programs that import little: no asyncio.

home/usage/<name>.jsonl   {"started_ns", "limits", "exact"}, a list for each sample, at the end {"ended_ns", ...}
"""

import json
import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alula.core.launch import Amounts
from alula.core.usage import MOST, Device, Sample, Usage, merged, thinned

FOLDER = "usage"


class Curve:
    """An attempt's file while it is written. A disk that does not take it is no reason to stop: then there is less.

    Of a long attempt, fewer and fewer samples are kept: each stands for twice as many as before when they are too many.
    """

    def __init__(self, path: Path, head: Mapping[str, Any]) -> None:
        self._path = path
        self._count, self._each = 0, 1
        self._pending: list[Sample] = []
        self.most = 0  # bytes of memory
        self._file = -1
        with suppress(OSError):
            path.parent.mkdir(mode=0o700, exist_ok=True)
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            self._write(json.dumps(head))

    def add(self, sample: Sample) -> None:
        self.most = max(self.most, sample.memory)
        self._pending.append(sample)
        if len(self._pending) >= self._each:
            self._keep()

    def end(self, foot: Mapping[str, Any]) -> None:
        """There is no more to come."""
        self._keep()
        self._write(json.dumps(foot))
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _keep(self) -> None:
        if not self._pending:
            return
        one, *others = self._pending
        for other in others:
            one = merged(one, other)
        self._pending = []
        self._write(_line(one))
        self._count += 1
        if self._count >= MOST:
            self._thin()

    def _thin(self) -> None:
        with suppress(OSError, ValueError):
            head, samples, _ = _parts(self._path.read_text())
            fewer = thinned(samples)
            new = self._path.with_suffix(".tmp")
            new.write_text("\n".join([json.dumps(head), *map(_line, fewer)]) + "\n")
            new.chmod(0o600)
            new.replace(self._path)
            os.close(self._file)
            self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            self._count = len(fewer)
        self._each *= 2

    def _write(self, line: str) -> None:
        if self._file >= 0:
            with suppress(OSError):
                os.write(self._file, line.encode() + b"\n")


def read(path: Path) -> Usage | None:
    """What a file says, of an attempt that may still run; ``None``: there is none, or nothing in it."""
    try:
        head, samples, foot = _parts(path.read_text())
    except (OSError, ValueError):
        return None
    if not head:
        return None
    ended = foot.get("ended_ns")
    limits = head["limits"]
    return Usage(
        started_at=_time(head["started_ns"]),
        ended_at=None if ended is None else _time(ended),
        limits=Amounts(limits["cpu"], limits["memory"], len(limits["devices"]), limits["disk"]),
        exact=head["exact"],
        samples=samples,
        cpu=foot.get("cpu", samples[-1].cpu if samples else 0.0),
        peak=foot.get("peak", max((sample.memory for sample in samples), default=0)),
        timings={name: nanoseconds / 1e9 for name, nanoseconds in foot.get("timings_ns", {}).items()},
    )


def keep(home: Path, names: Collection[str]) -> None:
    """Remove the files of all other attempts."""
    for path in (home / FOLDER).glob("*.jsonl"):
        if path.stem not in names:
            path.unlink(missing_ok=True)


def _line(sample: Sample) -> str:
    told: list[Any] = [round(sample.at, 3), round(sample.cpu, 3), sample.memory]
    if sample.devices:
        told.append([[one.name, one.busy, one.memory] for one in sample.devices])
    return json.dumps(told, separators=(",", ":"))


def _parts(text: str) -> tuple[dict[str, Any], list[Sample], dict[str, Any]]:
    """Head, samples, foot. A last line that has no end yet is left out."""
    head: dict[str, Any] = {}
    foot: dict[str, Any] = {}
    samples = []
    for line in text[: text.rfind("\n") + 1].splitlines():
        told = json.loads(line)
        if isinstance(told, list):
            at, cpu, memory, *more = told
            samples.append(Sample(at, cpu, memory, tuple(Device(*one) for one in more[0]) if more else ()))
        elif head:
            foot = told
        else:
            head = told
    return head, samples, foot


def _time(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(nanoseconds / 1_000_000_000, UTC)
