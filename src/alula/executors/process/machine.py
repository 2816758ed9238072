"""What this machine has for attempts: what the kernel and its control groups let this process have."""

import math
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from alula.core.machine import Machine

_GROUPS = Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 60  # bytes; version 1 has no word for it
_PATIENCE = 10.0  # seconds that nvidia-smi may take


def machine(folder: Path) -> Machine:
    """What there is now; of disk what is free where ``folder`` is."""
    return Machine(cpu=_cpus(), memory=_memory(), disk=shutil.disk_usage(_existing(folder)).free, gpus=_gpus())


def visible(devices: tuple[str, ...]) -> dict[str, str]:
    """The variables by which programs see only these GPUs."""
    names = ",".join(devices)
    return {"CUDA_VISIBLE_DEVICES": names, "NVIDIA_VISIBLE_DEVICES": names} if devices else {}


def _cpus() -> float:
    """Cores that this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)
    cores = float(len(allowed(0)) if allowed is not None else os.cpu_count() or 1)
    for folder in _own_groups():
        with suppress(OSError, ValueError):
            share, period = (folder / "cpu.max").read_text().split()
            cores = min(cores, int(share) / int(period))
        with suppress(OSError, ValueError):
            if (quota := int((folder / "cpu.cfs_quota_us").read_text())) > 0:
                cores = min(cores, quota / int((folder / "cpu.cfs_period_us").read_text()))
    return cores


def _memory() -> float:
    """Bytes: those of the machine, or fewer if a control group has a limit."""
    total = math.inf
    with suppress(OSError, ValueError):
        total = float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for folder in _own_groups():
        for name in ("memory.max", "memory.limit_in_bytes"):
            with suppress(OSError, ValueError):
                limit = int((folder / name).read_text())
                total = min(total, limit if limit < _UNLIMITED else math.inf)
    return total


def _own_groups() -> Iterator[Path]:
    """The folders of the control groups that this process is in, and of those above them."""
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, group = line.split(":", 2)
            root = _GROUPS / controllers if controllers else _GROUPS
            folder = root / group.lstrip("/")
            yield folder
            yield from (parent for parent in folder.parents if parent.is_relative_to(root))


def _gpus() -> tuple[str, ...]:
    """The GPUs that their driver lists, by UUID: a number means another one where only some are visible."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    with suppress(OSError, subprocess.SubprocessError):
        command = [tool, "--query-gpu=uuid", "--format=csv,noheader"]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=True)
        found = tuple(line.strip() for line in ran.stdout.splitlines() if line.strip())
        allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
        return found if allowed is None else _among(found, allowed)
    return ()


def _among(found: tuple[str, ...], allowed: str) -> tuple[str, ...]:
    """Those that the server may see itself, named by number or by the beginning of a UUID."""
    chosen = []
    for name in filter(None, (part.strip() for part in allowed.split(","))):
        if name.isdecimal():
            chosen += [found[int(name)]] if int(name) < len(found) else []
        else:
            chosen += [one for one in found if one.startswith(name)]
    return tuple(dict.fromkeys(chosen))


def _existing(folder: Path) -> Path:
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
