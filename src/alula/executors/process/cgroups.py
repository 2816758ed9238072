"""Control groups: one of the home's, and below it one for each attempt. Both versions of the kernel's interface.

Standard library only. Nothing here raises: without control groups, or with some controllers only, less is limited, and
whoever asks is told what is.
"""

import json
import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_CONTROLLERS = ("memory", "cpu", "cpuacct", "pids")
_UNIFIED = ""  # how /proc calls the hierarchy of version 2
_PROCESSES = "cgroup.procs"
_OURS = "alula-"
_BESIDE = "alula-server"
_FOUND = "groups.json"  # in the home: where its groups are, for those who sweep after a crash
_CHILDLESS = 2  # links to a folder that has none in it
_DYING = 2.0  # seconds that killed processes may take to be gone


@dataclass(frozen=True, slots=True)
class Group:
    """A control group: a folder for each controller. In version 2 it is the same folder for all."""

    version: int
    folders: Mapping[str, str]

    @property
    def counts(self) -> bool:
        """Whether it counts what its processes use."""
        return "memory" in self.folders and (self.version == 2 or "cpuacct" in self.folders)

    def enter(self, pid: int = 0) -> None:
        """Put a process into the group; 0: the one that calls."""
        for folder in dict.fromkeys(self.folders.values()):
            _write(f"{folder}/{_PROCESSES}", str(pid))

    def pids(self) -> list[int]:
        """Its processes, and those of groups below it."""
        found = {}
        for folder in dict.fromkeys(self.folders.values()):
            for below in _below(folder):
                found.update(dict.fromkeys(map(int, read(f"{below}/{_PROCESSES}").split())))
        return list(found)

    def write(self, controller: str, file: str, text: str) -> bool:
        """Whether the kernel took it."""
        folder = self.folders.get(controller)
        return folder is not None and _write(f"{folder}/{file}", text)

    def cpu(self) -> float | None:
        """CPU time of all that was ever in it, in seconds."""
        if self.version == 2:
            micros = table(read(f"{self._any()}/cpu.stat")).get("usage_usec")
            return None if micros is None else micros / 1e6
        nanos = self._number("cpuacct", "cpuacct.usage")
        return None if nanos is None else nanos / 1e9

    def memory(self) -> int | None:
        """Bytes that it holds, but for copies of files, which the kernel drops when somebody needs the room."""
        unified = self.version == 2
        used = self._number("memory", "memory.current" if unified else "memory.usage_in_bytes")
        if used is None:
            return None
        counts, of = table(read(f"{self.folders['memory']}/memory.stat")), "" if unified else "total_"
        return max(0, used - counts.get(f"{of}active_file", 0) - counts.get(f"{of}inactive_file", 0))

    def peak(self) -> int | None:
        """The most bytes that it ever held, copies of files included. Not every kernel knows."""
        return self._number("memory", "memory.peak" if self.version == 2 else "memory.max_usage_in_bytes")

    def kills(self) -> int:
        """How many of its processes the kernel killed because there was no more memory."""
        folder = self.folders.get("memory")
        if folder is None:
            return 0
        name = "memory.events" if self.version == 2 else "memory.oom_control"
        return sum(table(read(f"{below}/{name}")).get("oom_kill", 0) for below in _counting(folder, self.version))

    def remove(self) -> bool:
        """End what is left in it, and remove it with all below; whether it is gone."""
        gone = [_remove(folder, 0.0) for folder in dict.fromkeys(self.folders.values())]
        return all(gone)

    def _any(self) -> str:
        return next(iter(self.folders.values()))

    def _number(self, controller: str, file: str) -> int | None:
        folder = self.folders.get(controller)
        with suppress(ValueError):
            return int(read(f"{folder}/{file}")) if folder is not None else None
        return None


class Groups:
    """The home's groups. ``root`` has no processes of its own."""

    def __init__(self, root: Group) -> None:
        self.root = root
        self._left: list[Group] = []

    def make(self, name: str) -> Group | None:
        """A new group; ``None``: the kernel does not give one."""
        made = Group(self.root.version, {of: f"{folder}/{name}" for of, folder in self.root.folders.items()})
        try:
            for folder in dict.fromkeys(made.folders.values()):
                os.mkdir(folder)
        except OSError:
            self.remove(made)
            return None
        return made

    def remove(self, group: Group) -> None:
        """Remove a group, now or as soon as what is in it has died."""
        self._left = [one for one in (*self._left, group) if not one.remove()]

    def close(self) -> None:
        """Remove them all."""
        for folder in dict.fromkeys(self.root.folders.values()):
            _remove(folder, _DYING)


def claim(home: Path, identity: str) -> Groups | None:
    """Make the home's group where this process may; what an earlier one left is ended and removed first.

    ``None``: there are no control groups here, or none that this user may write.
    """
    sweep(home)
    name = f"{_OURS}{identity[:12]}-{os.getpid()}"
    with suppress(OSError):
        mine = own(Path("/proc/self/cgroup").read_text(), Path("/proc/self/mountinfo").read_text())
        root = place(mine, name)
        if root is not None:
            folders = [*dict.fromkeys(root.folders.values())]
            (home / _FOUND).write_text(json.dumps(folders))
            for folder in folders:
                _tidy(os.path.dirname(folder))
            return Groups(root)
    return None


def place(mine: Mapping[str, str], name: str) -> Group | None:
    """Make a group below the own ones (see `own`); ``None``: this process may not, or memory would not be counted."""
    return _first(mine, name) or _second(mine.get(_UNIFIED), name)


def sweep(home: Path) -> None:
    """End and remove what a crash left of the home's groups."""
    with suppress(OSError, ValueError):
        for folder in json.loads((home / _FOUND).read_text()):
            if os.path.basename(folder).startswith(_OURS):
                _remove(folder, _DYING)


def _tidy(folder: str) -> None:
    """Remove what is left here of homes that never came back: groups without processes, of launchers that are dead."""
    for entry in os.listdir(folder):
        launcher = entry.rpartition("-")[2]
        if entry.startswith(_OURS) and launcher.isdecimal() and not os.path.exists(f"/proc/{launcher}"):
            for below in reversed(_below(f"{folder}/{entry}")):
                with suppress(OSError):
                    os.rmdir(below)


def own(groups: str, mounts: str) -> dict[str, str]:
    """The folders of the groups that a process is in, by controller; ``""`` is that of version 2.

    Args:
        groups: its /proc/<pid>/cgroup.
        mounts: its /proc/<pid>/mountinfo.
    """
    places: dict[str, tuple[str, str]] = {}
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields, (kind, _, options) = before.split(), after.split()[:3]
        if kind == "cgroup2":
            places.setdefault(_UNIFIED, (fields[3], fields[4]))
        elif kind == "cgroup":
            for option in options.split(","):
                places.setdefault(option, (fields[3], fields[4]))
    found = {}
    for line in groups.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            if controller in places and (controller == _UNIFIED or controller in _CONTROLLERS):
                start, mounted = places[controller]
                inside = path == start or path.startswith(start.rstrip("/") + "/")
                below = path[len(start.rstrip("/")) :] if inside else ""
                found[controller] = (mounted + below).rstrip("/")
    return found


def table(text: str) -> dict[str, int]:
    """The numbers of a file with a name and a number in each line; what is none is left out."""
    found = {}
    for line in text.splitlines():
        name, _, number = line.partition(" ")
        if number.isdecimal():
            found[name] = int(number)
    return found


def read(path: str) -> str:
    """A file of the kernel's, or nothing."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(descriptor, 1 << 16).decode()
    except OSError:
        return ""
    finally:
        os.close(descriptor)


def _first(mine: Mapping[str, str], name: str) -> Group | None:
    """Version 1: below the own groups, of the controllers that can be had."""
    folders: dict[str, str] = {}
    for controller in _CONTROLLERS:
        folder = f"{mine[controller]}/{name}" if controller in mine else ""
        if folder and (folder in folders.values() or _made(folder)):
            folders[controller] = folder
    return Group(1, folders) if "memory" in folders else None


def _second(folder: str | None, name: str) -> Group | None:
    """Version 2: below the own group, if it was left to us, or there is nobody else in the world that we see.

    A group that gives its controllers on cannot have processes: the server's go into one beside the attempts'.
    """
    if folder is None:
        return None
    if os.path.basename(folder) == _BESIDE:  # an earlier launcher has moved us
        folder = os.path.dirname(folder)
    wanted = [one for one in ("memory", "cpu", "pids") if one in read(f"{folder}/cgroup.controllers").split()]
    if "memory" not in wanted or not os.access(folder, os.W_OK):
        return None
    text = " ".join(f"+{one}" for one in wanted)
    if not set(wanted) <= set(read(f"{folder}/cgroup.subtree_control").split()):
        if os.path.exists(f"{folder}/cgroup.type"):  # else it is the root of all, which may have both
            if not _delegated(folder) or not _made(beside := f"{folder}/{_BESIDE}"):
                return None
            for pid in read(f"{folder}/{_PROCESSES}").split():
                _write(f"{beside}/{_PROCESSES}", pid)
        if not _write(f"{folder}/cgroup.subtree_control", text):
            return None
    if not _made(root := f"{folder}/{name}"):
        return None
    _write(f"{root}/cgroup.subtree_control", text)
    return Group(2, dict.fromkeys(wanted, root))


def _delegated(folder: str) -> bool:
    """Whether whoever owns the tree has left this group to its user: systemd marks it; a container has its own root."""
    if os.path.ismount(folder):
        return True
    for mark in ("user.delegate", "trusted.delegate"):
        with suppress(OSError):
            return os.getxattr(folder, mark) == b"1"
    return False


def _made(folder: str) -> bool:
    try:
        os.mkdir(folder)
    except FileExistsError:
        return os.access(folder, os.W_OK)
    except OSError:
        return False
    return True


def _remove(folder: str, patience: float) -> bool:
    """End and remove a group and those below it; whether it is gone within ``patience`` seconds."""
    with suppress(OSError):
        os.rmdir(folder)
        return True
    deadline = time.monotonic() + patience
    while True:
        for below in _below(folder):
            if not _write(f"{below}/cgroup.kill", "1"):
                for pid in read(f"{below}/{_PROCESSES}").split():
                    with suppress(ProcessLookupError, PermissionError):
                        os.kill(int(pid), signal.SIGKILL)
        for below in reversed(_below(folder)):
            with suppress(OSError):
                os.rmdir(below)
        if not os.path.exists(folder):
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.01)  # they are not all ours: their end can only be looked for


def _below(folder: str) -> list[str]:
    """A group's folder and those below it, upper ones first."""
    with suppress(OSError):
        if os.stat(folder).st_nlink > _CHILDLESS:
            return [found for found, _, _ in os.walk(folder)]
    return [folder]


def _counting(folder: str, version: int) -> list[str]:
    """Those whose counters make up a group's: in version 2 each counts what is below it."""
    return [folder] if version == 2 else _below(folder)


def _write(path: str, text: str) -> bool:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.write(descriptor, text.encode())
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
