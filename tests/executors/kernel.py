"""The control groups of version 2, played by ordinary folders for machines that have none that can be written."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from alula.executors.process import tree

FILES = {
    "memory": {"memory.max": "max", "memory.swap.max": "max", "memory.current": "0", "memory.peak": "0",
               "memory.events": "oom 0\noom_kill 0\n", "memory.stat": "anon 0\nactive_file 0\ninactive_file 0\n"},
    "cpu": {"cpu.max": "max 100000"},
    "pids": {"pids.max": "max"},
}  # fmt: skip


class Kernel:
    """Folders below ``root`` are groups: they have the files that the kernel puts there, and go as groups do."""

    def __init__(self, root: Path, controllers: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self._mkdir, self._rmdir = os.mkdir, os.rmdir
        self._mkdir(root)
        self._fill(root, controllers.split())
        monkeypatch.setattr(os, "mkdir", self.mkdir)
        monkeypatch.setattr(os, "rmdir", self.rmdir)

    def mkdir(self, path: str | Path, mode: int = 0o777) -> None:
        self._mkdir(path, mode)
        if Path(path).is_relative_to(self.root):
            told = (Path(path).parent / "cgroup.subtree_control").read_text()
            self._fill(Path(path), [one.lstrip("+") for one in told.split()])

    def rmdir(self, path: str | Path, **more: int) -> None:
        if not Path(path).is_relative_to(self.root):
            self._rmdir(path, **more)
            return
        pids = map(int, (Path(path) / "cgroup.procs").read_text().split())
        if any(map(tree.alive, pids)) or any(one.is_dir() for one in Path(path).iterdir()):
            raise OSError(errno.EBUSY, "busy")
        os.rmdir = self._rmdir
        try:
            shutil.rmtree(path)
        finally:
            os.rmdir = self.rmdir  # type: ignore[assignment]

    def _fill(self, folder: Path, controllers: list[str]) -> None:
        names = {"cgroup.controllers": " ".join(controllers), "cgroup.subtree_control": "", "cgroup.procs": ""}
        names |= {"cgroup.type": "domain", "cpu.stat": "usage_usec 0\n"}
        for controller in controllers:
            names |= FILES[controller]
        for name, text in names.items():
            (folder / name).write_text(text)
