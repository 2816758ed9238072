"""Case C30, of executors that are away while something is aborted."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from alula.core.errors import Unavailable
from alula.core.ids import ROOT
from alula.core.phase import Phase
from alula.storage.address import Address
from tests.control.world import Wall, World, child, opened

from .ground import Process
from .server import Server


@pytest.fixture
async def world(tmp_path: Path, address: Address) -> AsyncIterator[World]:
    """On both databases."""
    async with opened(tmp_path, Wall(), address) as world:
        yield world


class Away:
    """A machine that cannot be reached until ``back`` is set."""

    def __init__(self, ground: Any) -> None:
        self._ground = ground
        self.back = asyncio.Event()
        self.asked = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._ground, name)
        if name not in ("submit", "observe", "release", "names"):
            return found

        async def reached(*args: Any) -> Any:
            if not self.back.is_set():
                self.asked.set()
                raise Unavailable("no route to the machine")
            return await found(*args)

        return reached


async def _sleep(process: Process) -> None:
    process.run()
    await asyncio.Event().wait()


async def test_an_abort_reaches_what_runs_however_late_its_machine_comes_back(server: Server) -> None:
    """The rows say so at once, with reason and identity all the way down; what runs ends once it can be reached."""
    server.ground.play = _sleep
    root = await server.start()
    await server.world.actions.enqueue(root.run, child("x"))
    await server.world.actions.enqueue(root.run, child("deep", "x"))
    async with server.at_work():
        for name in (ROOT, "x", "deep"):
            await server.reached(Phase.RUNNING, name)
    away = Away(server.ground)
    async with server.at_work(executor=away):
        await away.asked.wait()
        await server.world.actions.abort(root, "enough of it", "me")
        for name in (ROOT, "x", "deep"):
            found = await server.world.get(name)
            assert (found.phase, found.abort_reason, found.by) == (Phase.ABORTED, "enough of it", "me")
        assert len(await server.ground.names()) == 3, "nobody could end them yet"
        away.back.set()
        await server.ground.empty()
    assert await server.world.phases(ROOT, "x", "deep") == [Phase.ABORTED] * 3


@pytest.mark.parametrize("during", [False, True], ids=["before a reconciler", "while its machine is away"])
async def test_what_was_aborted_before_it_started_never_starts(server: Server, *, during: bool) -> None:
    root = await server.start()
    away = Away(server.ground)
    if not during:
        await server.world.actions.abort(root, "at once")
        away.back.set()
    async with server.at_work(executor=away):
        if during:
            await away.asked.wait()
            await server.world.actions.abort(root, "at once")
            away.back.set()
        other = await server.start(run="another")
        assert (await server.end(run=other.run.name)).phase is Phase.SUCCEEDED
    assert [launch.env["RUN_NAME"] for launch in server.ground.launches] == ["another"]
