"""WebSockets through the proxy, to an app that is asleep until the first comes. The server in front is the real one."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from alula.api.apps_proxy import AppsProxy
from alula.api.door import Guard
from alula.control.apps import Apps
from alula.control.serving import Serving
from alula.control.traffic import Traffic
from alula.executors.process.apps import AppProcesses
from alula.reconciler.apps import AppLoop
from alula.rpc.app import App, not_found
from alula.rpc.server import Server
from alula.wire import apps as wire
from alula.wire.apps import Place
from tests.api.test_apps import app
from tests.control.world import Wall, opened


@asynccontextmanager
async def _front(listener: socket.socket, guard: Guard) -> AsyncIterator[None]:
    stop = asyncio.Event()
    serving = asyncio.create_task(Server(App([], fallback=not_found), [listener], front=guard).run(stop))
    yield
    stop.set()
    await serving


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[int]:
    """Where an app named `ws` is served, which nobody has asked anything yet."""
    async with opened(tmp_path, Wall()) as world, AppProcesses(tmp_path / "apps") as processes:
        apps = Apps(world.database, world.changes, world.projects, world.clock, "ann")
        serving = Serving(world.database, world.changes, world.clock, world.secrets)
        traffic = Traffic()
        made = app("ws")
        made.metadata.id.project = "p"
        await apps.create(wire.asked(made))
        with socket.create_server(("127.0.0.1", 0)) as listener:
            number: int = listener.getsockname()[1]
            loop = AppLoop(serving, traffic, processes, Place({}, number, "s3://alula/apps"))
            looping = asyncio.create_task(loop.run())
            proxy = AppsProxy(apps, traffic, number)
            async with _front(listener, Guard(App([], fallback=not_found), proxy)):
                yield number
            await proxy.close()
            looping.cancel()
            await asyncio.gather(looping, return_exceptions=True)


async def test_a_message_goes_there_and_back(port: int) -> None:
    async with (
        asyncio.timeout(20),
        connect(f"ws://127.0.0.1:{port}/apps/p/development/ws/echo?x", proxy=None) as client,
    ):
        await client.send("hello")
        assert await client.recv() == "HELLO"
        await client.wait_closed()
        assert client.close_code == 1000


@pytest.mark.parametrize(
    ("path", "origin"),
    [
        ("/apps/p/development/nothing", None),  # no such app
        ("/elsewhere", None),  # no app at all
        ("/apps/p/development/ws", "https://evil.example"),  # a page of somebody else
    ],
)
async def test_who_is_not_let_in(port: int, path: str, origin: str | None) -> None:
    with pytest.raises(InvalidStatus) as caught:
        async with connect(f"ws://127.0.0.1:{port}{path}", origin=origin, proxy=None):  # type: ignore[arg-type]
            pass
    assert caught.value.response.status_code == 403
