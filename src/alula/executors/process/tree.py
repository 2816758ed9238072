"""Process trees: who belongs to an attempt, and how to end all of it.

On Linux the launcher is a subreaper: whatever an attempt starts stays below the launcher, also after `setsid` or a
double fork. An orphan is known by its session, by the mark in its environment, or by its working directory. Elsewhere
a tree is the process group.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

LINUX = sys.platform.startswith("linux")
MARK = "ALULA_ATTEMPT"  # <home id>/<attempt name>, in the environment of every process of an attempt


def children(pid: int) -> list[int]:
    """The live and dead children of a process."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found.extend(map(int, file.read().split()))
    except FileNotFoundError:
        if (
            Path(f"/proc/{pid}").exists()
            and not Path("/proc/self/task").joinpath(str(os.getpid()), "children").exists()
        ):
            return [other for other in processes() if parent(other) == pid]  # a kernel without CONFIG_PROC_CHILDREN
    except (ProcessLookupError, PermissionError):
        pass
    return found


def descendants(pid: int) -> list[int]:
    """Everything below a process, nearest first."""
    found: list[int] = []
    layer = [pid]
    while layer:
        layer = [child for above in layer for child in children(above)]
        found.extend(layer)
    return found


def processes() -> Iterator[int]:
    """Every process of the machine."""
    return (int(entry) for entry in os.listdir("/proc") if entry.isdigit())


def _fields(pid: int) -> list[bytes]:
    """Fields of /proc/<pid>/stat from the third (the state) on; empty if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def parent(pid: int) -> int:
    fields = _fields(pid)
    return int(fields[1]) if fields else 0


def started(pid: int) -> int:
    """When the process was started: clock ticks since boot on Linux, seconds elsewhere; with the pid it names a process
    for ever. 0: there is none.
    """
    if not LINUX:
        return _started_by_ps(pid)
    fields = _fields(pid)
    return int(fields[19]) if fields else 0


def _started_by_ps(pid: int) -> int:
    said = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, env={"LC_ALL": "C"})
    with suppress(ValueError):
        return int(time.mktime(time.strptime(said.stdout.strip())))
    return 0


def alive(pid: int) -> bool:
    """Whether the process runs: a zombie does not. A negative number is a process group."""
    if not LINUX:
        return send_group(abs(pid), 0)
    fields = _fields(pid)
    return bool(fields) and fields[0] not in (b"Z", b"X")


def boot() -> str:
    """What tells one boot of the machine from the next."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def mark(pid: int) -> str:
    """The mark in the process's environment: ``<home id>/<attempt name>``, or nothing."""
    with suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
        for entry in file.read().split(b"\0"):
            if entry.startswith(MARK.encode() + b"="):
                return os.fsdecode(entry[len(MARK) + 1 :])
    return ""


def directory(pid: int) -> str:
    """The process's working directory, or nothing."""
    with suppress(OSError):
        return os.readlink(f"/proc/{pid}/cwd")
    return ""


def session(pid: int) -> int:
    with suppress(OSError):
        return os.getsid(pid)
    return 0


def send(pids: Iterable[int], number: signal.Signals) -> None:
    """Signal processes; those that are gone do not matter."""
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def send_group(leader: int, number: int) -> bool:
    """Signal a process group; whether anybody was in it."""
    try:
        os.killpg(leader, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def survivors(home_id: str, known: Iterable[tuple[int, int]]) -> list[int]:
    """Processes that an earlier life of this home left behind: by its mark, or as a recorded (pid, start time)
    with its session and everything below. Elsewhere than on Linux: the process groups, as negative numbers.
    """
    leaders = {pid for pid, at in known if pid and started(pid) == at}
    if not LINUX:
        return [-pid for pid in leaders]
    found = {pid for pid in processes() if mark(pid).startswith(f"{home_id}/") or session(pid) in leaders} | leaders
    for pid in list(found):
        found.update(descendants(pid))
    found.discard(os.getpid())
    return [pid for pid in found if alive(pid)]
