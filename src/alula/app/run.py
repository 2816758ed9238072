"""One server as a process: its lock, its listeners, its event loop, its end by a signal."""

import asyncio
import errno
import gc
import signal
import socket
from collections.abc import Callable, Iterator

from alula.app.lock import locked
from alula.app.serve import serve
from alula.app.stores import address, opened
from alula.base.settings import Settings
from alula.core.errors import Unavailable
from alula.executors.process import isolation
from alula.storage.address import SqliteFile

_YOUNG = 10_000  # new objects until the collector looks at them; Python's own 700 is for smaller programs

Say = Callable[[str], None]


def run(settings: Settings, say: Say) -> None:
    """Serve until SIGTERM or SIGINT; say so once requests are answered.

    Raises:
        Conflict: the home is in use, or was made by something else; or the database is of another version.
        Unavailable: an address is in use, the database cannot be reached, or the disk cannot be written.
    """
    home = settings.home
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        settings.private.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(
            f"{home} cannot be used ({error.strerror}): name another with --home, or server.home"
        ) from None
    with locked(settings.private if settings.shared else home):
        listeners = [listener for text in settings.server.listen for listener in listen(text)]
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_run(settings, listeners, say))


async def check(settings: Settings) -> list[str]:
    """What would be started, after everything it needs was tried; nothing is changed but a heartbeat.

    Raises:
        DomainError: something cannot be used.
    """
    server, where = settings.server, address(settings)
    if settings.executor.isolation == "namespaces":
        await asyncio.to_thread(isolation.check)
    told = [
        f"roles: {', '.join(server.roles)}",
        f"listens on: {', '.join(server.listen) or 'nothing'}",
        f"objects: {settings.objects.endpoint or settings.objects.folder or settings.home / 'objects'}",
    ]
    if isinstance(where, SqliteFile):
        missing = not where.path.exists() or await where.migrate(dry_run=True)
        if missing:
            return [*told, f"database: {where.path}, to be made or brought up to date at the start"]
        told.append(f"database: {where.path}")
    else:
        told.append(f"database: {where}")
    async with opened(settings) as stores:
        await stores.check()
    return told


async def _run(settings: Settings, listeners: list[socket.socket], say: Say) -> None:
    started, stop = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup, or a shell, may have it
            loop.add_signal_handler(number, stop.set)
    serving = asyncio.create_task(serve(settings, listeners, started, stop))
    starting = asyncio.create_task(started.wait())
    await asyncio.wait({serving, starting}, return_when=asyncio.FIRST_COMPLETED)
    starting.cancel()
    if started.is_set():
        _settle_memory()
        say(f"alula is ready: {settings.server.url if listeners else ', '.join(settings.server.roles)}")
    await serving


def _settle_memory() -> None:
    """What is loaded by now stays: the collector need not look at it again and again, nor look so often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 10, 10)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def listen(text: str) -> Iterator[socket.socket]:
    """Listeners for HOST:PORT; of localhost, for both loopback addresses.

    Raises:
        Unavailable: the port is in use, or the host is none of this machine's.
    """
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    if host != "localhost":
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        yield _bound(family, host, int(port))
        return
    yield _bound(socket.AF_INET, "127.0.0.1", int(port))
    try:
        if socket.has_ipv6:
            yield _bound(socket.AF_INET6, "::1", int(port))
    except _NoSuchAddress:
        return  # no IPv6 on this machine


class _NoSuchAddress(Unavailable):
    pass


def _bound(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    try:
        listener = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise _NoSuchAddress(f"this machine has no such addresses as {host} ({error.strerror})") from None
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise Unavailable(
                f"port {port} is in use ({error.strerror}): choose another --port, or another address in server.listen"
            ) from None
        raise _NoSuchAddress(f"{host}:{port} cannot be listened on ({error.strerror})") from None
    listener.listen(1024)
    listener.setblocking(False)
    return listener
