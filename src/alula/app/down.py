"""`alula down`: end the server of a home, and whatever one that was killed has left running."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from alula.app.lock import Holder, holder
from alula.app.run import Say
from alula.core.errors import Unavailable
from alula.executors.container import engine as engines
from alula.executors.container.executor import label
from alula.executors.process import remains
from alula.executors.process.records import Home

_PATIENCE = 60.0  # seconds that a server may take to end its attempts, and itself
_TOLD = 2.0  # seconds between two words about that
_LOOK = 0.05
_EXECUTORS = ("executor", "apps")


def down(home: Path, say: Say) -> None:
    """Returns when nothing of the home runs any more. ``say`` prints a line for the user.

    Raises:
        Unavailable: a server was started meanwhile, or its process cannot be ended by this user.
    """
    folders = [home, *sorted((home / "replicas").glob("*"))]
    something = False
    for folder in folders:
        if (found := holder(folder)) is not None:
            _end_server(found, say)
            something = True
    for folder in folders:
        for name in _EXECUTORS:
            left = asyncio.run(remains.end(Home(folder / name)))
            if left is not None:
                something = True
                say(f"ended what a server that was killed had left in {folder / name}: {_counted(left)}")
        if containers := asyncio.run(_remove_containers(label(folder))):
            something = True
            say(f"removed {containers} of its containers")
    if not something:
        say(f"nothing runs in {home}")


async def _remove_containers(name: str) -> int:
    engine = await engines.find("auto")
    if engine is None:
        return 0
    left = await engine.left(name)
    for one in left:
        await engine.remove(one)
    return len(left)


def _end_server(found: Holder, say: Say) -> None:
    say(f"stopping the server, process {found.pid}; what it runs is ended")
    try:
        for waited in _signalled(found, signal.SIGTERM, _PATIENCE):
            say(f"  not yet, after {waited:.0f} s")
        if found.alive:
            say(f"it does not end within {_PATIENCE:.0f} s: killing it")
            for _ in _signalled(found, signal.SIGKILL, _PATIENCE):
                pass
    except PermissionError:
        raise Unavailable(f"process {found.pid} is another user's: ask them, or an administrator, to stop it") from None
    say("the server has stopped")


def _signalled(found: Holder, number: signal.Signals, patience: float) -> Iterator[float]:
    """Signal the server and wait for its end; every now and then the seconds that it has taken."""
    with suppress(ProcessLookupError):
        os.kill(found.pid, number)
    began = told = time.monotonic()
    while found.alive and (now := time.monotonic()) < began + patience:
        if now >= told + _TOLD:
            told = now
            yield now - began
        time.sleep(_LOOK)  # it is nobody's child of ours: its end can only be looked for


def _counted(attempts: int) -> str:
    return f"{attempts} attempt" + ("" if attempts == 1 else "s")
