"""Control groups: found, made, entered, read, removed. Version 1 as it is here, version 2 as it is, or played.

Each real test prints why, where it cannot run.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from alula.executors.process import cgroups, tree
from alula.executors.process.cgroups import Group, Groups
from alula.executors.process.limits import Asked, settings

from .kernel import Kernel

NAME = f"alula-tests-{os.getpid()}"
V1 = """\
24 1 0:20 / /sys/fs/cgroup ro - tmpfs tmpfs ro
25 24 0:21 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw
26 24 0:22 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
27 24 0:23 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
28 24 0:24 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
"""
V2 = "30 1 0:25 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
CONTAINER = "40 1 0:25 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"


@pytest.mark.parametrize(
    ("groups", "mounts", "found"),
    [
        (
            "4:memory:/system.slice/a.service\n3:cpu,cpuacct:/\n1:name=systemd:/x\n0::/x\n",
            V1,
            {
                "memory": "/sys/fs/cgroup/memory/system.slice/a.service",
                "cpu": "/sys/fs/cgroup/cpu,cpuacct",
                "cpuacct": "/sys/fs/cgroup/cpu,cpuacct",
                "": "/sys/fs/cgroup/unified/x",
            },
        ),
        ("0::/user.slice/app.scope\n", V2, {"": "/sys/fs/cgroup/user.slice/app.scope"}),
        ("0::/\n", V2, {"": "/sys/fs/cgroup"}),
        ("4:memory:/docker/abc/inner\n", CONTAINER, {"memory": "/sys/fs/cgroup/memory/inner"}),
        ("4:memory:/elsewhere\n", CONTAINER, {"memory": "/sys/fs/cgroup/memory"}),
        ("4:memory:/a\n", "", {}),
        ("", V2, {}),
    ],
)
def test_the_own_groups_are_found(groups: str, mounts: str, found: dict[str, str]) -> None:
    assert cgroups.own(groups, mounts) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", {"oom_kill_disable": 0, "under_oom": 0, "oom_kill": 3}),
        ("usage_usec 12\nnr_periods max\n\n", {"usage_usec": 12}),
        ("", {}),
    ],
)
def test_tables_of_the_kernel(text: str, found: dict[str, int]) -> None:
    assert cgroups.table(text) == found


PIDS = ("pids", "pids.max", "32768")


@pytest.mark.parametrize(
    ("version", "limits", "written"),
    [
        (1, Asked(), [PIDS]),
        (2, Asked(disk=1), [PIDS]),
        (
            1,
            Asked(memory=7, cpu=0.5),
            [
                PIDS,
                ("memory", "memory.limit_in_bytes", "7"),
                ("memory", "memory.memsw.limit_in_bytes", "7"),
                ("cpu", "cpu.cfs_period_us", "100000"),
                ("cpu", "cpu.cfs_quota_us", "50000"),
            ],
        ),
        (
            2,
            Asked(memory=7, cpu=2),
            [
                PIDS,
                ("memory", "memory.max", "7"),
                ("memory", "memory.swap.max", "0"),
                ("cpu", "cpu.max", "200000 100000"),
            ],
        ),
        (2, Asked(cpu=0.0001), [PIDS, ("cpu", "cpu.max", "1000 100000")]),
    ],
)
def test_limits_in_the_kernels_words(version: int, limits: Asked, written: list[tuple[str, str, str]]) -> None:
    assert list(settings(version, limits)) == written


def _mine() -> dict[str, str]:
    with suppress(OSError):
        return cgroups.own(Path("/proc/self/cgroup").read_text(), Path("/proc/self/mountinfo").read_text())
    return {}


@pytest.fixture(params=["first", "second", "played"])
def groups(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Groups]:
    mine = _mine()
    if request.param == "first":
        mine.pop("", None)
    elif request.param == "second":
        mine = {"": mine[""]} if "" in mine else {}
    else:
        kernel = Kernel(tmp_path / "kernel", "memory cpu pids", monkeypatch)
        (kernel.root / "cgroup.subtree_control").write_text("memory cpu pids")
        mine = {"": str(kernel.root)}
    root = cgroups.place(mine, NAME)
    if root is None:
        pytest.skip(f"no control groups of the {request.param} version can be had here: {mine or 'none is mounted'}")
    made = Groups(root)
    yield made
    made.close()
    assert not [folder for folder in root.folders.values() if os.path.exists(folder)]


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def test_what_is_in_a_group_is_seen_and_ends_with_it(groups: Groups, sleeper: "subprocess.Popen[bytes]") -> None:
    group = groups.make("one")
    assert group is not None
    assert group.pids() == []
    group.enter(sleeper.pid)
    assert group.pids() == [sleeper.pid]
    groups.remove(group)
    sleeper.wait(10)
    assert not tree.alive(sleeper.pid)
    groups.remove(group)
    assert not any(os.path.exists(folder) for folder in group.folders.values())


def test_limits_are_written(groups: Groups) -> None:
    group = groups.make("one")
    assert group is not None
    for controller, file, text in settings(group.version, Asked(memory=64 << 20, cpu=0.5)):
        if controller in group.folders and os.path.exists(f"{group.folders[controller]}/{file}"):
            assert group.write(controller, file, text)
            assert cgroups.read(f"{group.folders[controller]}/{file}").strip() == text


def test_what_no_kernel_takes_is_no_error(groups: Groups) -> None:
    group = groups.make("one")
    assert group is not None
    assert not group.write("memory", "no.such.file", "1")
    assert not group.write("no controller", "memory.max", "1")
    assert groups.make("one") is None, "it is there already, and may be somebody's"
    group.enter(2**22 + 1)
    assert group.pids() == []
    assert group.kills() == 0


def test_groups_that_a_task_made_below_its_own_go_with_it(groups: Groups) -> None:
    group = groups.make("one")
    assert group is not None
    for folder in set(group.folders.values()):
        os.mkdir(f"{folder}/inner")
    groups.remove(group)
    assert not any(os.path.exists(folder) for folder in group.folders.values())


def test_numbers_of_version_2(tmp_path: Path) -> None:
    told = {
        "cpu.stat": "usage_usec 1500000\nuser_usec 1\n",
        "memory.current": "1000",
        "memory.peak": "4000",
        "memory.stat": "anon 1\nactive_file 100\ninactive_file 200\n",
        "memory.events": "low 0\noom 5\noom_kill 2\n",
    }
    for name, text in told.items():
        (tmp_path / name).write_text(text)
    group = Group(2, dict.fromkeys(("memory", "cpu"), str(tmp_path)))
    assert (group.cpu(), group.memory(), group.peak(), group.kills()) == (1.5, 700, 4000, 2)
    (tmp_path / "memory.peak").unlink()
    assert group.peak() is None, "an older kernel does not know"


def test_numbers_of_version_1(tmp_path: Path) -> None:
    told = {
        "cpuacct.usage": "1500000000",
        "memory.usage_in_bytes": "1000",
        "memory.max_usage_in_bytes": "4000",
        "memory.stat": "active_file 9\ntotal_active_file 100\ntotal_inactive_file 200\n",
        "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
    }
    for name, text in told.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "memory.oom_control").write_text("oom_kill 1\n")
    group = Group(1, dict.fromkeys(("memory", "cpuacct"), str(tmp_path)))
    assert (group.cpu(), group.memory(), group.peak(), group.kills()) == (1.5, 700, 4000, 3)


# Version 2 alone: who may have what is below a group, and where the server's processes are then.


@pytest.fixture
def unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sleeper: "subprocess.Popen[bytes]") -> Path:
    """The group of a service, as systemd makes one: with its process in it, and no controllers given on."""
    folder = Kernel(tmp_path / "unit", "memory cpu pids", monkeypatch).root
    (folder / "cgroup.procs").write_text(str(sleeper.pid))
    return folder


def _delegate(folder: Path) -> None:
    try:
        os.setxattr(folder, "user.delegate", b"1")
    except (OSError, AttributeError) as error:
        pytest.skip(f"this file system has no attributes to mark a folder with: {error}")


def test_a_delegated_unit_gives_on_its_controllers(unit: Path, sleeper: "subprocess.Popen[bytes]") -> None:
    """A group that does so has no processes of its own: they go into one beside."""
    _delegate(unit)
    root = cgroups.place({"": str(unit)}, "alula-x-1")
    assert root == Group(2, dict.fromkeys(("memory", "cpu", "pids"), f"{unit}/alula-x-1"))
    assert (unit / "alula-server" / "cgroup.procs").read_text() == str(sleeper.pid)
    assert (unit / "cgroup.subtree_control").read_text() == "+memory +cpu +pids"
    assert (unit / "alula-x-1" / "cgroup.subtree_control").read_text() == "+memory +cpu +pids"


def test_a_later_launcher_finds_the_unit_again(unit: Path) -> None:
    _delegate(unit)
    assert cgroups.place({"": str(unit)}, "alula-x-1") is not None
    (unit / "cgroup.subtree_control").write_text("memory cpu pids")
    again = cgroups.place({"": f"{unit}/alula-server"}, "alula-x-2")
    assert again == Group(2, dict.fromkeys(("memory", "cpu", "pids"), f"{unit}/alula-x-2"))


def test_a_group_that_was_not_left_to_us_is_left_alone(unit: Path, sleeper: "subprocess.Popen[bytes]") -> None:
    """A terminal's, say: it belongs to the user, but holds the shell, and systemd rules it."""
    assert cgroups.place({"": str(unit)}, "alula-x-1") is None
    assert (unit / "cgroup.procs").read_text() == str(sleeper.pid)
    assert not (unit / "cgroup.subtree_control").read_text()
    assert not [one for one in unit.iterdir() if one.is_dir()]


def test_the_root_of_all_groups_keeps_its_processes(unit: Path, sleeper: "subprocess.Popen[bytes]") -> None:
    (unit / "cgroup.type").unlink()
    root = cgroups.place({"": str(unit)}, "alula-x-1")
    assert root is not None
    assert (unit / "cgroup.procs").read_text() == str(sleeper.pid)


@pytest.mark.parametrize("controllers", ["", "cpu pids"])
def test_without_a_count_of_memory_there_is_no_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, controllers: str
) -> None:
    folder = Kernel(tmp_path / "kernel", controllers, monkeypatch).root
    assert cgroups.place({"": str(folder)}, "alula-x-1") is None
    assert cgroups.place({}, "alula-x-1") is None


def test_processes_in_a_real_group_of_version_2(sleeper: "subprocess.Popen[bytes]") -> None:
    """Also where the kernel has given its controllers to version 1: that much works without any."""
    folder = f"{_mine().get('', '/nowhere')}/{NAME}"
    try:
        os.mkdir(folder)
    except OSError as error:
        pytest.skip(f"no group of version 2 can be made here: {error}")
    group = Group(2, {"cpu": folder})
    group.enter(sleeper.pid)
    assert group.pids() == [sleeper.pid]
    assert group.cpu() is not None
    Groups(group).close()
    sleeper.wait(10)
    assert not os.path.exists(folder)


def test_what_a_crash_left_is_swept(tmp_path: Path, until: Callable[[Callable[[], bool]], object]) -> None:
    first = cgroups.claim(tmp_path, "0123456789abcdef")
    if first is None:
        pytest.skip("no control groups can be had here")
    group = first.make("one")
    assert group is not None
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        group.enter(process.pid)
        second = cgroups.claim(tmp_path, "0123456789abcdef")
        assert second is not None
        assert process.wait(10) == -9
    assert not any(os.path.exists(folder) for folder in group.folders.values())
    second.close()
    assert not any(os.path.exists(folder) for folder in first.root.folders.values())


def test_what_homes_left_that_never_came_back_goes_if_it_is_empty(tmp_path: Path) -> None:
    mine = _mine()
    gone = subprocess.Popen(["true"])
    gone.wait()
    stale = cgroups.place(mine, f"alula-feedbeef-{gone.pid}")
    alive = cgroups.place(mine, f"alula-feedbeef-{os.getpid()}")
    if stale is None or alive is None:
        pytest.skip("no control groups can be had here")
    assert Groups(stale).make("one") is not None
    groups = cgroups.claim(tmp_path, "0123456789abcdef")
    assert groups is not None
    groups.close()
    assert not any(os.path.exists(folder) for folder in stale.folders.values())
    assert all(os.path.exists(folder) for folder in alive.folders.values())
    Groups(alive).close()
