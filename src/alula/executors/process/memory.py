"""Evidence that the kernel killed for lack of memory: the counters of the control group this process is in."""

from contextlib import suppress
from pathlib import Path


class OomCounter:
    """Counts the kernel's out-of-memory kills in the own control group. Without control groups it stays at zero."""

    def __init__(self) -> None:
        self._file = _find()
        self._count = self._read()

    def grew(self) -> bool:
        """Whether the kernel has killed since the last look."""
        before, self._count = self._count, self._read()
        return self._count > before

    def _read(self) -> int:
        if self._file is not None:
            with suppress(OSError, ValueError):
                for line in self._file.read_text().splitlines():
                    if line.startswith("oom_kill "):
                        return int(line.split()[1])
        return 0


def _find() -> Path | None:
    """`memory.events` (version 2) or `memory.oom_control` (version 1) of the own group."""
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, group = line.split(":", 2)
            root, name = ("", "memory.events") if not controllers else ("memory", "memory.oom_control")
            if controllers not in ("", "memory"):
                continue
            file = Path("/sys/fs/cgroup") / root / group.lstrip("/") / name
            if file.exists():
                return file
    return None
