"""SIGKILL at every process in turn: no second process for a name, no process left behind, no invented end."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import pytest
from conftest import Bench

from alula.core.errors import Unavailable
from alula.core.launch import Launch, Presence
from alula.executors.process import records, tree
from alula.executors.process.executor import ProcessExecutor

Until = Callable[[Callable[[], bool]], Awaitable[None]]
Mode = Literal["fork", "spawn"]
MODES = pytest.mark.parametrize("mode", ["fork", "spawn"])
DRIVER = Path(__file__).with_name("driver.py")


@asynccontextmanager
async def server(home: Path, mode: Mode, *names: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, DRIVER, home, mode, *names, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"up\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def pids_of(home: Path, name: str, until: Until) -> list[int]:
    file = home.parent / f"{name}.pids"
    await until(lambda: file.exists() and file.read_text().endswith("."))
    return [int(word) for word in file.read_text().split()[:-1]]


def of_home(home: Path) -> list[int]:
    """Every process of this home, by its mark, its command line or its working directory."""
    identity = (home / "id").read_text()
    found = []
    for pid in tree.processes():
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        ours = tree.mark(pid).startswith(identity) or str(home).encode() in line or str(home) in tree.directory(pid)
        if ours and tree.alive(pid):
            found.append(pid)
    return found


def launcher_of(bench: Bench) -> int:
    link = bench.executor._life._link
    assert link is not None
    return link.process.pid


@MODES
async def test_server_killed(tmp_path: Path, mode: Mode, until: Until) -> None:
    home = tmp_path / "home"
    async with server(home, mode, "quick-1", "long-1") as process:
        pids = await pids_of(home, "long-1", until)
        process.kill()
        await process.wait()
        await until(lambda: not of_home(home))
    assert not any(map(tree.alive, pids))
    async with ProcessExecutor(home, mode=mode) as executor:
        assert sorted(await executor.names()) == ["long-1", "quick-1"]
        quick, long = await executor.observe("quick-1"), await executor.observe("long-1")
        assert quick is not None
        assert (quick.presence, quick.exit_code, quick.log_tail) == (Presence.EXITED, 0, "done\n")
        assert long is not None
        assert (long.presence, long.exit_code, long.signal) == (Presence.LOST, None, None)
        await executor.submit(Launch("long-1", ("python", "-c", "print('twice')"), {}))
        again = await executor.observe("long-1")
        assert again == long
        said = [line.text async for batch in executor.logs("long-1", follow=True) for line in batch]
        assert "lost: the server ended" in said[-1]
        await executor.release("long-1")
        assert await executor.names() == ["quick-1"]


@MODES
async def test_everything_killed_at_once(tmp_path: Path, mode: Mode, until: Until) -> None:
    """Server, launcher and recorder: only the next life can clean up."""
    home = tmp_path / "home"
    async with server(home, mode, "long-1") as process:
        pids = await pids_of(home, "long-1", until)
        programs = [pid for pid in of_home(home) if pid not in pids]
        assert len(programs) == 3
        for pid in programs:
            os.kill(pid, signal.SIGKILL)
        await process.wait()
    assert any(map(tree.alive, pids[1:]))
    async with ProcessExecutor(home, mode=mode) as executor:
        assert not any(map(tree.alive, pids))
        seen = await executor.observe("long-1")
        assert seen is not None
        assert seen.presence is Presence.LOST


async def test_launcher_killed(bench: Bench, until: Until) -> None:
    from driver import FAMILY

    await bench.python("done", "print('done')")
    await bench.over("done")
    await bench.python("long", FAMILY, PIDS=str(bench.home.parent / "long.pids"))
    pids = await pids_of(bench.home, "long", until)
    first = launcher_of(bench)
    os.kill(first, signal.SIGKILL)
    assert (await bench.over("long")).presence is Presence.LOST
    assert not any(map(tree.alive, pids))
    await bench.python("next", "print('next')")
    assert (await bench.over("next")).exit_code == 0
    assert launcher_of(bench) != first
    done = await bench.executor.observe("done")
    assert done is not None
    assert done.presence is Presence.EXITED
    await bench.executor.release("long")


async def test_recorder_killed(bench: Bench, until: Until) -> None:
    from driver import FAMILY

    await bench.python("long", FAMILY, PIDS=str(bench.home.parent / "long.pids"))
    pids = await pids_of(bench.home, "long", until)
    (recorder,) = [
        pid for pid in of_home(bench.home) if b"process.recorder" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    os.kill(recorder, signal.SIGKILL)
    assert (await bench.over("long")).presence is Presence.LOST
    assert not any(map(tree.alive, pids))
    await bench.python("next", "print('next')")
    assert await bench.said("next") == "next\n"


async def test_launcher_killed_under_load(bench: Bench) -> None:
    """Submits of every stage meet the death; each ends as lost or runs, exactly once, and none waits for ever."""
    names = [f"n{number}" for number in range(30)]
    runs = bench.home.parent / "runs"
    code = f"open({str(runs)!r}, 'a').write('%s\\n' % __import__('os').environ['N'])"
    submits = [asyncio.create_task(bench.python(name, code, N=name)) for name in names]
    await asyncio.wait(submits, return_when=asyncio.FIRST_COMPLETED)
    os.kill(launcher_of(bench), signal.SIGKILL)
    await asyncio.gather(*submits)
    seen = {name: await bench.over(name) for name in names}
    ran = runs.read_text().split() if runs.exists() else []
    assert len(ran) == len(set(ran))
    assert {name for name, one in seen.items() if one.presence is Presence.EXITED} <= set(ran)


async def test_crash_between_the_marker_and_the_process(tmp_path: Path) -> None:
    home = records.Home(tmp_path)
    for name in ("whole", "torn"):
        home.attempt(name).mkdir(parents=True)
    records.create(home.attempt("whole") / records.MARKER, {"name": "whole", "grace": 1.0, "notes": []})
    (home.attempt("torn") / records.MARKER).write_text('{"name": "to')
    async with ProcessExecutor(tmp_path, mode="spawn") as executor:
        assert await executor.names() == ["whole"]
        seen = await executor.observe("whole")
        assert seen is not None
        assert seen.presence is Presence.LOST
        await executor.submit(Launch("torn", ("true",), {}))  # it was never started
        assert await executor.observe("torn") is not None


async def test_a_recorded_pid_that_now_is_another_process_lives(tmp_path: Path) -> None:
    bystander = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        home = records.Home(tmp_path)
        home.attempt("one").mkdir(parents=True)
        records.create(home.attempt("one") / records.MARKER, {"name": "one", "grace": 1.0, "notes": []})
        record = {"pid": bystander.pid, "started": tree.started(bystander.pid) - 1, "boot": tree.boot()}
        records.replace(home.attempt("one") / records.PROCESS, record)
        async with ProcessExecutor(tmp_path, mode="spawn"):
            assert bystander.poll() is None
        records.replace(home.attempt("one") / records.PROCESS, {**record, "started": record["started"] + 1})
        (home.attempt("one") / records.END).unlink()
        async with ProcessExecutor(tmp_path, mode="spawn"):
            assert bystander.wait(5) == -signal.SIGKILL
    finally:
        bystander.kill()


async def test_a_home_has_one_server(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alula.executors.process.life._PATIENCE", 0.1)
    with pytest.raises(Unavailable, match="in use by another server"):
        async with ProcessExecutor(bench.home):
            pass
    await bench.python("one", "pass")
    assert (await bench.over("one")).exit_code == 0


async def test_marker_that_cannot_be_written(bench: Bench) -> None:
    attempts = bench.home / "attempts"
    attempts.rmdir()
    attempts.write_text("")  # as a full disk, but for root, too
    with pytest.raises(Unavailable, match="cannot be written down"):
        await bench.python("one", "pass")
    assert await bench.executor.names() == []
    attempts.unlink()
    attempts.mkdir()
    await bench.python("one", "pass")
    assert (await bench.over("one")).exit_code == 0
