"""Servers that a test kills, and what is left of them."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import pytest

from alula.executors.process import tree

Until = Callable[[Callable[[], bool]], Awaitable[None]]
Mode = Literal["fork", "spawn"]
MODES = pytest.mark.parametrize("mode", ["fork", "spawn"])
DRIVER = Path(__file__).with_name("driver.py")


@asynccontextmanager
async def killable(home: Path, mode: Mode, fate: str, *names: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A server whose attempts ``outlive`` it, or ``end`` with it; once it runs these."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, DRIVER, home, mode, fate, *names, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
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
    """The processes of a `long` attempt."""
    file = home.parent / f"{name}.pids"
    await until(lambda: file.exists() and file.read_text().endswith("."))
    return [int(word) for word in file.read_text().split()[:-1]]


def of_home(home: Path) -> list[int]:
    """Every process of this home, by its mark, its command line or its working directory."""
    identity = (home / "id").read_text() if (home / "id").exists() else "none"
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
