"""What this machine has: as the kernel, its control groups and the GPUs' driver say."""

import os
from pathlib import Path

import psutil
import pytest

from alula.executors.process import machine as found
from alula.executors.process.machine import machine, visible


def test_this_machine(tmp_path: Path) -> None:
    here = machine(tmp_path / "not" / "there" / "yet")
    assert 0 < here.cpu <= (os.cpu_count() or 1)
    assert 0 < here.memory <= psutil.virtual_memory().total
    assert 0 < here.disk <= psutil.disk_usage(str(tmp_path)).total


@pytest.mark.parametrize(
    ("files", "cpu", "memory"),
    [
        ({}, 8.0, 16 * 1024**3),
        ({"cpu.max": "150000 100000\n", "memory.max": "1073741824\n"}, 1.5, 1024**3),
        ({"cpu.max": "max 100000\n", "memory.max": "max\n"}, 8.0, 16 * 1024**3),
        ({"cpu.cfs_quota_us": "200000\n", "cpu.cfs_period_us": "100000\n"}, 2.0, 16 * 1024**3),
        ({"cpu.cfs_quota_us": "-1\n", "cpu.cfs_period_us": "100000\n"}, 8.0, 16 * 1024**3),
        ({"memory.limit_in_bytes": "2147483648\n"}, 8.0, 2 * 1024**3),
        ({"memory.limit_in_bytes": "9223372036854771712\n"}, 8.0, 16 * 1024**3),
        ({"cpu.max": "odd", "memory.max": ""}, 8.0, 16 * 1024**3),
    ],
)
def test_a_control_group_gives_less(
    files: dict[str, str], cpu: float, memory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(found, "_own_groups", lambda: iter([tmp_path]))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 4 * 1024**2, "SC_PAGE_SIZE": 4096}.__getitem__)
    here = machine(tmp_path)
    assert (here.cpu, here.memory) == (cpu, memory)


_SMI = """#!/bin/sh
printf 'GPU-aaaa-1\\nGPU-bbbb-2\\nGPU-cccc-3\\n'
"""


@pytest.mark.parametrize(
    ("script", "allowed", "gpus"),
    [
        (_SMI, None, ("GPU-aaaa-1", "GPU-bbbb-2", "GPU-cccc-3")),
        (_SMI, "2,0", ("GPU-cccc-3", "GPU-aaaa-1")),
        (_SMI, "GPU-bb, 9,1", ("GPU-bbbb-2",)),
        (_SMI, "", ()),
        ("#!/bin/sh\nexit 9\n", None, ()),
        (None, None, ()),
    ],
)
def test_gpus(
    script: str | None, allowed: str | None, gpus: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if script is not None:
        (tmp_path / "nvidia-smi").write_text(script)
        (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if allowed is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", allowed)
    assert machine(tmp_path).gpus == gpus


def test_which_gpus_a_program_sees() -> None:
    assert visible(()) == {}, "all that the server sees"
    assert visible(("a", "b")) == {"CUDA_VISIBLE_DEVICES": "a,b", "NVIDIA_VISIBLE_DEVICES": "a,b"}
