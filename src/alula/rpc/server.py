"""The one-port server: uvicorn, embedded in the caller's event loop."""

import asyncio
import contextlib
import socket
from collections.abc import Sequence

import uvicorn
from uvicorn.server import ServerState

from alula.rpc.app import App
from alula.rpc.asgi import Asgi
from alula.rpc.oneport import OnePort

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
        self._config = uvicorn.Config(
            front or app,
            http=OnePort,
            ws="none",
            interface="asgi3",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE,
            timeout_graceful_shutdown=grace,  # type: ignore[arg-type] # only ever a timeout in seconds
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until ``stop``. Then end the open streams with UNAVAILABLE, let other calls end, and close.

        Returns within the grace, whatever handlers do. The listeners are closed in the end.
        """
        self._config.load()
        server = uvicorn.Server(self._config)
        server.lifespan = self._config.lifespan_class(self._config)
        await server.startup(sockets=self._listeners)
        try:
            while not stop.is_set():
                await server.on_tick(0)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), _TICK)
        finally:
            self._app.draining.set()
            await server.shutdown(sockets=self._listeners)
            await _abort(server.server_state)


async def _abort(state: ServerState) -> None:
    """Cut what outlived the grace."""
    for connection in list(state.connections):
        connection.transport.abort()
    if state.tasks:
        await asyncio.wait(state.tasks, timeout=_LAST)
