"""SIGKILL at every process in turn: no second process for a name, no process left behind, no invented end."""

import asyncio
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from alula.core.errors import Unavailable
from alula.core.launch import Launch, Presence
from alula.executors.process import records, tree
from alula.executors.process.executor import ProcessExecutor
from alula.executors.process.peers import SOCKET

from .conftest import Bench
from .servers import MODES, Mode, Until, killable, of_home, pids_of
from .test_contract import family


def launcher_of(bench: Bench) -> int:
    assert isinstance(bench.executor, ProcessExecutor)
    link = bench.executor._life._link
    assert link is not None
    assert link.process is not None
    return link.process.pid


@MODES
async def test_server_killed_that_attempts_must_not_outlive(tmp_path: Path, mode: Mode, until: Until) -> None:
    home = tmp_path / "home"
    async with killable(home, mode, "end", "quick-1", "long-1") as process:
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


def _stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("T")


@MODES
async def test_everything_killed_at_once(tmp_path: Path, mode: Mode, until: Until) -> None:
    """Server, launcher and recorder: only the next life can clean up."""
    home = tmp_path / "home"
    async with killable(home, mode, "outlive", "long-1") as process:
        pids = await pids_of(home, "long-1", until)
        programs = [pid for pid in of_home(home) if pid not in pids]
        assert len(programs) >= 3  # and a parent with its workers
        for pid in programs:  # stopped first: none of them is to see the others die, and act
            os.kill(pid, signal.SIGSTOP)
        await until(lambda: all(map(_stopped, programs)))
        for pid in programs:
            os.kill(pid, signal.SIGKILL)
        await process.wait()
    assert any(map(tree.alive, pids[1:]))
    async with ProcessExecutor(home, mode=mode) as executor:
        assert not any(map(tree.alive, pids))
        seen = await executor.observe("long-1")
        assert seen is not None
        assert seen.presence is Presence.LOST


async def test_launcher_killed(lone: Bench, until: Until) -> None:
    from .driver import FAMILY

    await lone.python("done", "print('done')")
    await lone.over("done")
    await lone.python("long", FAMILY, PIDS=str(lone.home.parent / "long.pids"))
    pids = await pids_of(lone.home, "long", until)
    first = launcher_of(lone)
    os.kill(first, signal.SIGKILL)
    assert (await lone.over("long")).presence is Presence.LOST
    await until(lambda: not any(map(tree.alive, pids)))  # killed they are; the kernel may still be at it
    await lone.python("next", "print('next')")
    assert (await lone.over("next")).exit_code == 0
    assert launcher_of(lone) != first
    done = await lone.executor.observe("done")
    assert done is not None
    assert done.presence is Presence.EXITED
    await lone.executor.release("long")


async def test_recorder_killed(lone: Bench, until: Until) -> None:
    from .driver import FAMILY

    await lone.python("long", FAMILY, PIDS=str(lone.home.parent / "long.pids"))
    pids = await pids_of(lone.home, "long", until)
    (recorder,) = [
        pid for pid in of_home(lone.home) if b"process.recorder" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    os.kill(recorder, signal.SIGKILL)
    assert (await lone.over("long")).presence is Presence.LOST
    await until(lambda: not any(map(tree.alive, pids)))  # killed they are; the kernel may still be at it
    await lone.python("next", "print('next')")
    assert await lone.said("next") == "next\n"


async def test_launcher_killed_under_load(lone: Bench) -> None:
    """Submits of every stage meet the death; each ends as lost or runs, exactly once, and none waits for ever."""
    names = [f"n{number}" for number in range(30)]
    runs = lone.home.parent / "runs"
    code = f"open({str(runs)!r}, 'a').write('%s\\n' % __import__('os').environ['N'])"
    submits = [asyncio.create_task(lone.python(name, code, N=name)) for name in names]
    await asyncio.wait(submits, return_when=asyncio.FIRST_COMPLETED)
    os.kill(launcher_of(lone), signal.SIGKILL)
    await asyncio.gather(*submits)
    seen = {name: await lone.over(name) for name in names}
    ran = runs.read_text().split() if runs.exists() else []
    assert len(ran) == len(set(ran))
    assert {name for name, one in seen.items() if one.presence is Presence.EXITED} <= set(ran)


@pytest.mark.parametrize("killed", [False, True])
async def test_crash_between_the_marker_and_the_process(tmp_path: Path, killed: bool) -> None:
    """What was never started is not known, and can be asked for. Of a launcher that was killed nobody can say that."""
    home = records.Home(tmp_path)
    for name in ("whole", "torn", "begun"):
        home.attempt(name).mkdir(parents=True)
        records.create(home.attempt(name) / records.MARKER, {"name": name, "grace": 1.0, "notes": []})
    (home.attempt("torn") / records.MARKER).write_text('{"name": "to')
    records.replace(home.attempt("begun") / records.PROCESS, {"pid": 0, "started": 0, "boot": ""})
    if killed:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(tmp_path / SOCKET))
    lost = ["begun", "whole"] if killed else ["begun"]
    async with ProcessExecutor(tmp_path, mode="spawn") as executor:
        assert sorted(await executor.names()) == lost
        for name in lost:
            seen = await executor.observe(name)
            assert seen is not None
            assert seen.presence is Presence.LOST
        for name in {"whole", "torn"} - set(lost):
            await executor.submit(Launch(name, ("true",), {}))
            assert await executor.observe(name) is not None


async def test_a_recorded_pid_that_now_is_another_process_lives(tmp_path: Path) -> None:
    bystander = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        home = records.Home(tmp_path)
        home.attempt("one").mkdir(parents=True)
        records.create(home.attempt("one") / records.MARKER, {"name": "one", "grace": 1.0, "notes": []})
        started = tree.started(bystander.pid)
        record = {"pid": bystander.pid, "boot": tree.boot()}
        records.replace(home.attempt("one") / records.PROCESS, {**record, "started": started - 1})
        async with ProcessExecutor(tmp_path, mode="spawn"):
            assert bystander.poll() is None
        records.replace(home.attempt("one") / records.PROCESS, {**record, "started": started})
        (home.attempt("one") / records.END).unlink()
        async with ProcessExecutor(tmp_path, mode="spawn"):
            assert bystander.wait(5) == -signal.SIGKILL
    finally:
        bystander.kill()


async def test_a_home_has_one_server(lone: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alula.executors.process.life._PATIENCE", 0.1)
    with pytest.raises(Unavailable, match="in use by another server"):
        async with ProcessExecutor(lone.home):
            pass
    await lone.python("one", "pass")
    assert (await lone.over("one")).exit_code == 0


async def test_marker_that_cannot_be_written(lone: Bench) -> None:
    attempts = lone.home / "attempts"
    attempts.rmdir()
    attempts.write_text("")  # as a full disk, but for root, too
    with pytest.raises(Unavailable, match="cannot be written down"):
        await lone.python("one", "pass")
    assert await lone.executor.names() == []
    attempts.unlink()
    attempts.mkdir()
    await lone.python("one", "pass")
    assert (await lone.over("one")).exit_code == 0


async def test_nothing_is_left_when_the_executor_stops(lone: Bench) -> None:
    pids = await family(lone, "time.sleep(60)")
    assert isinstance(lone.executor, ProcessExecutor)
    await lone.executor.__aexit__()
    assert not any(map(tree.alive, pids))


async def test_a_daemon_without_a_trace_ends_with_the_last_attempt(lone: Bench, until: Until) -> None:
    """No mark, no session, no directory of its attempt: only its being below the launcher tells."""
    code = (
        "import subprocess, sys; sleep = [sys.executable, '-c', 'import time; time.sleep(60)'];"
        "print(subprocess.Popen(sleep, start_new_session=True, env={}, cwd='/').pid)"
    )
    await lone.python("one", code)
    assert (await lone.over("one")).exit_code == 0
    pid = int(await lone.said("one"))
    await until(lambda: not tree.alive(pid))
