"""The one-port server: uvicorn, embedded in the caller's event loop."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Sequence
from typing import Any

import uvicorn

from alula.rpc.app import App
from alula.rpc.asgi import Asgi
from alula.rpc.oneport import OnePort

logger = logging.getLogger(__name__)

_TICK = 1.0  # seconds between two updates of the Date header
_LAST = 1.0  # seconds for cancelled handlers to clean up
_KEEP_ALIVE = 75  # seconds; longer than the idle pools of usual clients


class Server:
    """Serves ``app`` on listeners that are bound already, HTTP/1.1 and HTTP/2 on each.

    It installs no signal handler. ``front``: what requests meet first, if that is not ``app`` itself. ``grace``:
    seconds that open calls get to end after the stop.
    """

    def __init__(
        self, app: App, listeners: Sequence[socket.socket], *, front: Asgi | None = None, grace: float = 5.0
    ) -> None:
        self._app = app
        self._listeners = list(listeners)
        self._grace = grace
        self._config = uvicorn.Config(
            front or app,
            http=OnePort,
            ws="none" if front is None else "websockets-sansio",  # no rpc is one
            interface="asgi3",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until ``stop``. Then end the open streams with UNAVAILABLE, let other calls end, and close.

        Returns soon after the grace, whatever handlers do. The listeners are closed in the end.
        """
        self._config.load()
        server = uvicorn.Server(self._config)
        server.lifespan = self._config.lifespan_class(self._config)
        connections = server.server_state.connections = _Connections()
        await server.startup(sockets=self._listeners)
        try:
            while not stop.is_set():
                await server.on_tick(0)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), _TICK)
        finally:
            self._app.draining.set()
            for listener in server.servers:
                listener.close()
            await self._close(connections, server.server_state.tasks)

    async def _close(self, connections: "_Connections", tasks: set[asyncio.Task[None]]) -> None:
        for connection in list(connections):
            connection.shutdown()
        try:
            async with asyncio.timeout(self._grace):
                await connections.none_left()
                if tasks:
                    await asyncio.wait(tasks)
        except TimeoutError:
            logger.warning("%d calls have outlived the grace of %g s and are cut", len(tasks), self._grace)
            for task in tasks:
                task.cancel()
            for connection in list(connections):
                connection.transport.abort()
            if tasks:
                await asyncio.wait(tasks, timeout=_LAST)


class _Connections(set[Any]):
    """The open connections. uvicorn's protocols, and ours, add and discard themselves."""

    def __init__(self) -> None:
        super().__init__()
        self._left = asyncio.Event()

    def discard(self, connection: object) -> None:
        """Take one out."""
        super().discard(connection)
        self._left.set()

    async def none_left(self) -> None:
        """Return once there is none."""
        while self:
            self._left.clear()
            await self._left.wait()
