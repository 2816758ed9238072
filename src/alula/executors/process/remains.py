"""What is left in a home whose server is dead, and how to end it."""

import asyncio
import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress

from alula.core.errors import Unavailable
from alula.executors.process import cgroups, records, tree
from alula.executors.process.link import Link, take_lock

_DYING = 10.0  # seconds that killed processes may take to be gone
_ENDING = 10.0  # seconds that a launcher may take to end its attempts, and itself


def kill(home: records.Home, identity: str) -> int:
    """Kill every process of the home's attempts, the launcher that held them included; how many. Blocks."""
    deadline = time.monotonic() + _DYING
    found: set[int] = set()
    while time.monotonic() < deadline:
        found |= set(tree.survivors(identity, _leaders(home)))
        left = {pid for pid in found if tree.alive(pid)}
        if not left:
            break
        tree.send(left, signal.SIGKILL)
        time.sleep(0.01)  # they are nobody's children of ours: their end can only be looked for
    return len(found)


def _leaders(home: records.Home) -> Iterable[tuple[int, int]]:
    """The main processes of attempts that have no end, by what was written down of them: pid and start."""
    boot = tree.boot()
    for folder in home.attempts.iterdir():
        process = records.read(folder / records.PROCESS)
        if process is not None and process["boot"] == boot and not (folder / records.END).exists():
            yield process["pid"], process["started"]


async def end(home: records.Home) -> int | None:
    """End what a dead server has left running: its launcher, with all attempts. Their ends are for the next server.

    How many attempts that were; ``None``: nothing was left.

    Raises:
        Unavailable: a server uses this home.
    """
    if not (home.path / records.ID).exists():
        return None
    try:
        lock = await asyncio.to_thread(take_lock, home.path / records.LOCK, 0.0)
    except BlockingIOError:
        raise Unavailable(f"{home.path} is in use by a server") from None
    try:
        return await _end(home)
    finally:
        os.close(lock)


async def _end(home: records.Home) -> int | None:
    held: int | None = None
    with suppress(OSError, TimeoutError):
        link = await Link.open(home.path, outlive=False)
        async with asyncio.timeout(_ENDING):
            held = len(await link.held() or ())
            link.launcher.send({"close": True})
            async for _ in link.recorder.messages():
                pass
        link.close()
    identity = (home.path / records.ID).read_text().strip()
    killed = await asyncio.to_thread(kill, home, identity)
    if held is not None or killed:
        with suppress(BlockingIOError):  # the recorder of a killed launcher writes what it has still got
            os.close(await asyncio.to_thread(take_lock, home.path / records.LAUNCHER_LOCK, _ENDING))
    await asyncio.to_thread(cgroups.sweep, home.path)
    return held if held is not None or not killed else killed
