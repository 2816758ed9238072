"""`alula down` leaves nothing running, whatever there was: a server, one that was killed, one that does not answer."""

import asyncio
import signal
import subprocess
from pathlib import Path

import pytest

from alula.app.down import down as end
from alula.core.phase import Phase

from .world import ALULA, Work, World


def down(world: World) -> list[str]:
    """What it says; it has to end well."""
    done = subprocess.run([ALULA, "down", "--home", world.home], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


async def _busy(world: World) -> None:
    """A server with a task that runs."""
    world.start_well()
    await world.create("long", Work(seconds=0.0 if world.attempts() else 60.0))
    await world.until(lambda: bool(world.attempts()))


async def test_a_server_that_runs(tmp_path: Path) -> None:
    world = World(tmp_path)
    await _busy(world)
    assert world.process is not None
    said = down(world)
    assert said[0] == f"stopping the server, process {world.process.pid}; what it runs is ended"
    assert said[-1] == "the server has stopped"
    assert world.process.wait(5) == 0
    assert world.left() == []
    assert down(world) == [f"nothing runs in {world.home}"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_ends_it_all(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C, a service manager, a terminal that is closed."""
    world = World(tmp_path)
    await _busy(world)
    assert world.process is not None
    world.process.send_signal(number)
    assert world.process.wait(20) == 0
    assert world.left() == []


async def test_what_a_killed_server_has_left(tmp_path: Path) -> None:
    world = World(tmp_path)
    await _busy(world)
    world.kill()
    assert world.left(), "its task goes on"
    left = world.home / "executor"
    assert down(world) == [f"ended what a server that was killed had left in {left}: 1 attempt"]
    assert world.left() == []
    assert down(world) == [f"nothing runs in {world.home}"]
    world.ran.write_text("")
    world.start_well()
    try:  # an attempt that was ended with its server is lost: the next one is another
        await world.until(lambda: bool(world.attempts()))
        assert list(world.attempts()) == ["long 1"]
    finally:
        assert world.stop() == 0
    assert world.left() == []


async def test_everything_was_killed(tmp_path: Path) -> None:
    """The supervisor, too: then there are only its tasks."""
    world = World(tmp_path)
    await _busy(world)
    victims = [one for one in world.programs() if one.kind in ("server", "launcher", "recorder")]
    for one in victims:
        one.send(signal.SIGSTOP)
    for one in victims:
        one.send(signal.SIGKILL)
    down(world)
    assert world.left() == []


@pytest.mark.parametrize("kind", ["launcher", "recorder"])
async def test_a_supervisor_that_hangs(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alula.executors.process.remains._ENDING", 0.5)
    world = World(tmp_path)
    await _busy(world)
    world.kill()
    (hanging,) = [one for one in world.programs() if one.kind == kind]
    hanging.send(signal.SIGSTOP)
    said: list[str] = []
    await asyncio.to_thread(end, world.home, said.append)
    assert len(said) == 1
    assert world.left() == []


async def test_a_killed_server_that_is_started_again(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.start_well()
    await world.create("slow", Work(seconds=3.0))
    await world.until(lambda: bool(world.attempts()))
    world.kill()
    world.start_well()
    try:
        assert await world.end("slow") == (Phase.SUCCEEDED, 1)
    finally:
        assert world.stop() == 0
    assert world.attempts() == {"slow 0": 1}
    assert world.left() == []
