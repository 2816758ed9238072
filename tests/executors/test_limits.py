"""Attempts that take more than they may: of memory, CPU, disk; by a control group, and where there is none, watched."""

import os
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from alula.core.launch import Amounts, Launch, Originator, Presence, Resources
from alula.executors.process import cgroups, disk, limits, words
from alula.executors.process.environment import Environment
from alula.executors.process.executor import ProcessExecutor

from .conftest import Bench

MIB = 1024 * 1024
EATS = f"import time; x = bytearray({200 * MIB}); time.sleep(20)"


@pytest.fixture(params=["groups", "watched"])
async def held(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    """An executor whose attempts have control groups, and one whose launcher finds none."""
    if request.param == "groups":
        found = cgroups.claim(tmp_path, "feed")
        if found is None:
            pytest.skip("no control groups can be had here")
        found.close()
    else:
        _without_groups(tmp_path, monkeypatch)
    home = tmp_path / "home"
    async with ProcessExecutor(home, mode="spawn") as executor:
        yield Bench(executor, home, request.param)
    assert not _groups(home)


def _without_groups(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The launcher is started by an interpreter in which there are no groups to be found."""
    interpreter = folder / "python"
    interpreter.write_text(
        f"#!{sys.executable}\n"
        "import sys\n"
        "import alula.executors.process.cgroups as groups\n"
        "groups.claim = lambda *_: None\n"
        "_, _, code, *words = sys.argv\n"
        "sys.argv = ['-c', *words]\n"
        "exec(code)\n"
    )
    interpreter.chmod(0o755)
    own = replace(Environment.own(), interpreter=interpreter)
    monkeypatch.setattr(Environment, "own", lambda: own)


def _groups(home: Path) -> list[str]:
    """What there is of a home's."""
    name = f"alula-{(home / 'id').read_text()[:12]}"
    with open("/proc/self/cgroup") as mine, open("/proc/self/mountinfo") as mounts:
        own = cgroups.own(mine.read(), mounts.read())
    return [entry.path for folder in own.values() for entry in os.scandir(folder) if entry.name.startswith(name)]


async def _start(bench: Bench, code: str, **limits: float) -> None:
    asked = Resources(limits=Amounts(**limits))  # type: ignore[arg-type]
    await bench.submit(Launch("one", (sys.executable, "-c", code), {}, resources=asked))


async def _system(bench: Bench) -> list[str]:
    return [line.text for line in await bench.lines("one") if line.originator is Originator.SYSTEM]


async def test_who_takes_more_memory_than_its_limit_is_out_of_memory(held: Bench) -> None:
    await _start(held, EATS, memory=64 * MIB)
    seen = await held.over("one")
    assert (seen.presence, seen.signal, seen.out_of_memory) == (Presence.EXITED, 9, True)
    first, last = await _system(held)
    assert f"(at most 64 MiB of memory{', watched' * (held.mode == 'watched')})" in first
    assert "out of memory: used " in last
    assert " of 64 MiB (the limit of the task); ask for more with Resources(memory=...)" in last


async def test_a_child_that_is_out_of_memory_is_the_attempts_end_too(held: Bench) -> None:
    code = f"import subprocess, sys\nsys.exit(subprocess.run([sys.executable, '-c', {EATS!r}]).returncode != 0)"
    await _start(held, code, memory=100 * MIB)
    seen = await held.over("one")
    assert seen.out_of_memory
    assert (seen.exit_code, seen.signal) == ((1, None) if held.mode == "groups" else (None, 9))


async def test_who_stays_below_its_limit_is_left_alone(held: Bench) -> None:
    """What processes share counts once: each child alone says that it has 60 MiB."""
    code = f"""
import os, time
x = bytearray({60 * MIB})
children = [os.fork() for _ in range(2)]
if 0 in children:
    time.sleep(1.5)
    os._exit(0)
for _ in children:
    os.wait()
"""
    await _start(held, code, memory=150 * MIB)
    seen = await held.over("one")
    assert (seen.exit_code, seen.out_of_memory) == (0, False)


async def test_the_files_that_a_task_reads_are_not_its_memory(held: Bench) -> None:
    code = f"""
import os, time
block = os.urandom({MIB})
with open('big', 'wb') as file:
    for _ in range(100): file.write(block)
for _ in range(2):
    with open('big', 'rb') as file:
        while file.read({MIB}): pass
    time.sleep(0.3)
"""
    await _start(held, code, memory=64 * MIB)
    seen = await held.over("one")
    assert (seen.exit_code, seen.out_of_memory) == (0, False)


async def test_a_cpu_limit_holds_for_all_processes_of_an_attempt(held: Bench) -> None:
    if held.mode == "watched":
        pytest.skip("without control groups, CPU is not limited: attempts that have a limit are only nice")
    code = """
import os, time
child = os.fork()
end = time.monotonic() + 2
while time.monotonic() < end: pass
os.write(1, f"{sum(os.times()[:2])}\\n".encode())  # both at once: a line in one piece
if child: os.waitpid(child, 0)
"""
    await _start(held, code, cpu=0.5)
    await held.over("one")
    used = [float(line) for line in (await held.said("one")).split()]
    assert len(used) == 2
    assert sum(used) < 1.5, "two processes, two seconds, half a core"


async def test_who_cannot_be_limited_yields(held: Bench) -> None:
    await _start(held, "import os; print(os.getpriority(os.PRIO_PROCESS, 0))", cpu=0.5)
    await held.over("one")
    assert (await held.said("one")).strip() == ("0" if held.mode == "groups" else "5")


async def test_who_writes_more_than_its_limit_is_ended_and_told_why(held: Bench) -> None:
    code = f"import time\nwith open('big', 'wb') as file: file.write(bytes({4 * MIB}))\ntime.sleep(60)"
    await _start(held, code, disk=2 * MIB)
    seen = await held.over("one")
    assert (seen.signal, seen.out_of_memory) == (9, False)
    assert seen.exceeded.endswith("of 2 MiB (the limit of the task); ask for more with Resources(disk=...)")
    assert seen.exceeded in (await _system(held))[-1]


async def test_no_group_outlives_its_attempt_or_its_executor(tmp_path: Path) -> None:
    """Not those of processes that left the attempt's session."""
    code = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0: time.sleep(60)
    os._exit(0)
time.sleep(0.2)
"""
    home = tmp_path / "home"
    async with ProcessExecutor(home, mode="spawn") as executor:
        bench = Bench(executor, home, "spawn")
        await _start(bench, code)
        if not _groups(home):
            pytest.skip("no control groups can be had here")
        assert (await bench.over("one")).exit_code == 0
        assert not [inner for group in _groups(home) for inner in os.scandir(group) if inner.is_dir()]
    assert not _groups(home)


def test_a_folder_is_weighed_as_the_disk_holds_it(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "full").write_bytes(b"x" * 100_000)
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    (tmp_path / "link").symlink_to("/usr")
    assert 100_000 <= disk.taken([str(tmp_path)]) < 200_000
    assert disk.taken([str(tmp_path / "nowhere")]) == 0


def test_more_shared_memory_than_there_is_is_told() -> None:
    assert limits.notes(Resources(shared_memory=1)) == ()
    (told,) = limits.notes(Resources(shared_memory=1 << 60))
    assert told.startswith("asked for 1.05e+06 TiB of shared memory: /dev/shm has ")


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1024, "1 KiB"),
        (256 * MIB, "256 MiB"),
        (1.5 * 1024 * MIB, "1.5 GiB"),
        (2**50, "1.02e+03 TiB"),
    ],
)
def test_sizes_for_people(number: float, said: str) -> None:
    assert words.size(number) == said


@pytest.mark.parametrize(
    ("record", "limit", "said"),
    [
        ({}, 0, "exit code 0"),
        ({"cpu": 1.23, "peak": 130 * MIB}, 0, "exit code 0; 1.2 s CPU, peak memory 130 MiB"),
        (
            {"out_of_memory": True, "cpu": 0.0, "peak": 257 * MIB},
            256 * MIB,
            (
                "exit code 0; out of memory: used 257 MiB of 256 MiB (the limit of the task); "
                "ask for more with Resources(memory=...); 0.0 s CPU, peak memory 257 MiB"
            ),
        ),
        (
            {"out_of_memory": True, "peak": MIB},
            0,
            (
                "exit code 0; out of memory: used 1 MiB, and the machine had no more; "
                "ask for it with Resources(memory=...); 0.0 s CPU, peak memory 1 MiB"
            ),
        ),
        ({"exceeded": "too much disk: a lot"}, 0, "exit code 0; too much disk: a lot"),
    ],
)
def test_last_lines(record: dict[str, object], limit: int, said: str) -> None:
    assert words.ended("exit code 0", record, limit) == said
