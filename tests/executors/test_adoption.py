"""What a server leaves behind that is killed: it goes on, and the next server finds it as if it were its own."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from alula.core.launch import Launch, LogLine, Originator, Presence
from alula.executors.process import link as link_module
from alula.executors.process import records, tree
from alula.executors.process.executor import ProcessExecutor
from alula.executors.process.peers import SOCKET

from .driver import launch
from .servers import MODES, Mode, Until, killable, of_home, pids_of

MANY = 100


def text(lines: list[LogLine], originator: Originator) -> str:
    return "".join(line.text for line in lines if line.originator is originator)


async def log(executor: ProcessExecutor, name: str) -> list[LogLine]:
    """All of it, once it has ended."""
    async with asyncio.timeout(30):
        return [line async for batch in executor.logs(name, follow=True) for line in batch]


def ran(folder: Path) -> list[str]:
    return sorted((folder / "runs").read_text().split()) if (folder / "runs").exists() else []


@MODES
async def test_attempts_go_on(tmp_path: Path, mode: Mode, until: Until) -> None:
    """Running: with its real start, its log from before, during and after. Ended meanwhile: with its real end."""
    home = tmp_path / "home"
    names = ["gated-1", "gated-2", "quick-1"]
    async with killable(home, mode, "outlive", *names) as process:
        await until(lambda: ran(tmp_path) == ["gated-1", "gated-2"])
        process.kill()
        await process.wait()
    (main,) = [records.read(home / "attempts" / folder / records.PROCESS) for folder in [_folder(home, "gated-2")]]
    assert main is not None
    os.kill(main["pid"], signal.SIGKILL)
    end = home / "attempts" / _folder(home, "gated-2") / records.END
    await until(end.exists)
    before = time.time()
    async with ProcessExecutor(home, mode=mode) as executor:
        assert sorted(await executor.names()) == names
        one, two, quick = [await executor.observe(name) for name in names]
        assert one is not None
        assert two is not None
        assert quick is not None
        assert one.presence is Presence.RUNNING
        assert one.started_at is not None
        assert one.started_at.timestamp() < before
        assert (two.presence, two.signal) == (Presence.EXITED, signal.SIGKILL)
        assert (quick.presence, quick.exit_code, quick.log_tail) == (Presence.EXITED, 0, "done\n")
        await executor.submit(launch(tmp_path, "gated-1"))
        assert await executor.observe("gated-1") == one, "it is submitted, and not started again"
        following = asyncio.create_task(log(executor, "gated-1"))
        (tmp_path / "gate").touch()
        lines = await following
        assert text(lines, Originator.USER) == "before\nafter\n"
        system = text(lines, Originator.SYSTEM).splitlines()
        assert [line.split()[0] for line in system] == ["started", "adopted", "exit"]
        ended = await executor.observe("gated-1")
        assert ended is not None
        assert (ended.presence, ended.exit_code, ended.started_at) == (Presence.EXITED, 0, one.started_at)
        await executor.submit(Launch("next", ("true",), {}))
        await log(executor, "next")
        for name in (*names, "next"):
            await executor.release(name)
    assert ran(tmp_path) == ["gated-1", "gated-2"]
    assert of_home(home) == []
    assert list((home / "attempts").iterdir()) == []
    assert not (home / SOCKET).exists()


def _folder(home: Path, name: str) -> str:
    return records.Home(home).attempt(name).name


async def test_server_after_server(tmp_path: Path, until: Until) -> None:
    home = tmp_path / "home"
    async with killable(home, "spawn", "outlive", "gated-1"):
        await until(lambda: ran(tmp_path) == ["gated-1"])
    for _ in range(3):
        async with killable(home, "spawn", "outlive", "gated-1"):
            pass
    async with ProcessExecutor(home, mode="spawn") as executor:
        (tmp_path / "gate").touch()
        lines = await log(executor, "gated-1")
        assert text(lines, Originator.USER) == "before\nafter\n"
        assert text(lines, Originator.SYSTEM).count("adopted") == 4
    assert ran(tmp_path) == ["gated-1"]


async def test_what_the_dead_server_had_asked_for(tmp_path: Path, until: Until) -> None:
    """Its orders are in the socket, and the launcher has not read them yet: they count, once."""
    home = tmp_path / "home"
    names = [f"gated-{number}" for number in range(20)]
    async with killable(home, "spawn", "outlive") as process:
        (launcher,) = [pid for pid in of_home(home) if tree.mark(pid) and "launcher import" in _command(pid)]
        os.kill(launcher, signal.SIGSTOP)
        assert process.stdin is not None
        process.stdin.write((" ".join(names) + "\n").encode())
        markers = [records.Home(home).attempt(name) / records.MARKER for name in names]
        await until(lambda: all(marker.exists() for marker in markers))
    os.kill(launcher, signal.SIGCONT)
    (tmp_path / "gate").touch()
    async with ProcessExecutor(home, mode="spawn") as executor:
        asked = await executor.names()
        for name in names:  # one whose order was never sent is not known, and is asked for again
            await executor.submit(launch(tmp_path, name))
            assert text(await log(executor, name), Originator.USER) == "before\nafter\n"
        assert asked, "some had been sent"
    assert ran(tmp_path) == sorted(names)


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


async def test_a_launcher_of_another_alula_is_replaced(
    tmp_path: Path, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    async with killable(home, "spawn", "outlive", "long-1"):
        pids = await pids_of(home, "long-1", until)
    monkeypatch.setattr(link_module, "PROTOCOL", 0)
    async with ProcessExecutor(home, mode="spawn") as executor:
        assert not any(map(tree.alive, pids))
        seen = await executor.observe("long-1")
        assert seen is not None
        assert seen.presence is Presence.LOST
        await executor.submit(Launch("next", ("echo", "hello"), {}))
        assert text(await log(executor, "next"), Originator.USER) == "hello\n"


@MODES
async def test_the_folder_of_the_server_is_removed(tmp_path: Path, mode: Mode, until: Until) -> None:
    home = tmp_path / "home"
    async with killable(home, mode, "outlive", "long-1"):
        pids = await pids_of(home, "long-1", until)
        everything = of_home(home)
    assert set(pids) < set(everything)

    def removed() -> bool:  # while somebody writes there
        shutil.rmtree(home, ignore_errors=True)
        return not home.exists()

    await until(removed)
    await until(lambda: not any(map(tree.alive, everything)))


async def test_a_launcher_without_server_and_attempts_ends(tmp_path: Path, until: Until) -> None:
    """With attempts it stays until they have ended; of their ends none is lost."""
    (tmp_path / "id").write_text("word")
    home = records.Home(tmp_path)
    directory = home.attempt("one")
    for folder in (directory / "work", directory / "tmp", home.logs):
        folder.mkdir(parents=True)
    code = "import sys; from alula.executors.process import launcher as l; l._ALONE = l._LOOK = 0.05; l.main()"
    with socket.socket(socket.AF_UNIX) as listener, (tmp_path / "lock").open("w") as lock:
        listener.bind(str(tmp_path / SOCKET))
        listener.listen()
        numbers = (listener.fileno(), lock.fileno())
        process = subprocess.Popen(
            [sys.executable, "-c", code, tmp_path, *map(str, numbers), "spawn", "", "1000"],
            pass_fds=numbers, cwd=tmp_path, env={**os.environ, tree.MARK: "word/" + "-" * 200},
        )  # fmt: skip
        ours, theirs = socket.socketpair()
        with socket.socket(socket.AF_UNIX) as server, theirs:
            server.connect(str(tmp_path / SOCKET))
            message: dict[str, object] = {
                "start": "one",
                "command": ["sleep", "0.5"],
                "env": {"PATH": os.environ["PATH"]},
            }
            message |= {"directory": str(directory), "work": str(directory / "work"), "bundle": None}
            hello = json.dumps({"hello": 1, "outlive": True}) + "\n" + json.dumps(message) + "\n"
            socket.send_fds(server, [hello.encode()], [theirs.fileno()])
        assert json.loads(ours.recv(1000)) == {"protocol": 1, "held": {}}
        ours.close()
    assert await asyncio.to_thread(process.wait, 20) == 0
    end = records.read(directory / records.END)
    assert end is not None
    assert end["exit_code"] == 0
    assert not (tmp_path / SOCKET).exists()
    await until(lambda: not of_home(tmp_path))


async def test_a_hundred_running_attempts(tmp_path: Path, until: Until) -> None:
    """They are all there in at most 3 s."""
    home = tmp_path / "home"
    names = sorted(f"gated-{number}" for number in range(MANY))
    async with killable(home, "spawn", "outlive", *names):
        await until(lambda: ran(tmp_path) == names)
    began = time.monotonic()
    async with ProcessExecutor(home, mode="spawn") as executor:
        seen = [await executor.observe(name) for name in names]
        took = time.monotonic() - began
        print(f"adopted {len(seen)} running attempts in {took * 1000:.0f} ms")
        assert {one.presence for one in seen if one is not None} == {Presence.RUNNING}
        assert None not in seen
        assert took < 3
        (tmp_path / "gate").touch()
        for name in names:
            assert text(await log(executor, name), Originator.USER) == "before\nafter\n"
    assert ran(tmp_path) == names
