"""A server without its doors: real rows, real objects, the real reconciler, over a simulated machine."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from alula.reconciler import loop
from tests.control.world import Wall, World, opened

from .ground import Ground, succeed
from .server import Server


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is tried again soon; but nothing may need the tick, which finds what hints missed."""
    monkeypatch.setattr(loop, "_RETRY", 0.01)
    monkeypatch.setattr(loop, "_TICK", 3600.0)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with opened(tmp_path, Wall()) as world:
        yield world


@pytest.fixture
async def server(world: World) -> AsyncIterator[Server]:
    server = Server(world, Ground(world, succeed))
    yield server
    await server.ground.close()
