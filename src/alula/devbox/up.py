"""`alula up`: everything in one process, on the loopback interface, kept in one folder."""

import asyncio
import errno
import fcntl
import gc
import getpass
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from alula.app.serve import serve
from alula.base.settings import Settings
from alula.core.errors import Conflict, Unavailable

PORTS = (30080, 8090)  # where `flyte create config --devbox` looks, and upstream's own
PROJECT = "flytesnacks"
_DOMAIN = "development"
_LEAST_SLOTS = 16
_SLOTS_PER_CORE = 4
_YOUNG = 10_000  # new objects until the collector looks at them; Python's own 700 is for smaller programs

Say = Callable[[str], None]


def up(home: Path, port: int | None, say: Say) -> None:
    """Serve until SIGTERM or SIGINT. ``say`` prints a line for the user.

    Raises:
        Conflict: the home is in use, or was made by something else.
        Unavailable: a port is in use, or the disk cannot be written.
    """
    ports = (port,) if port else PORTS
    home = home.expanduser().absolute()
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"{home} cannot be used ({error.strerror}): name another folder with --home") from None
    with _locked(home):
        listeners = [s for p in ports for s in _listen(p, asked=port is not None)]
        settings = Settings(
            home=home,
            ports=ports,
            project=PROJECT,
            create_missing=True,
            slots=max(_LEAST_SLOTS, _SLOTS_PER_CORE * (os.cpu_count() or 1)),
            user=_user(),
        )
        config = _write_config(home, ports[0])
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_run(settings, listeners, config, say))


async def _run(settings: Settings, listeners: list[socket.socket], config: Path, say: Say) -> None:
    started, stop = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    serving = asyncio.create_task(serve(settings, listeners, started, stop))
    starting = asyncio.create_task(started.wait())
    await asyncio.wait({serving, starting}, return_when=asyncio.FIRST_COMPLETED)
    starting.cancel()
    if started.is_set():
        _settle_memory()
        say(f"  export FLYTECTL_CONFIG={config}")
        say("  flyte run examples/01-hello/hello.py main")
        say(f"alula is ready: http://localhost:{settings.ports[0]}")
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


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    """Hold the home for as long as this process lives; the system lets go of it, however the process ends."""
    with (home / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise Conflict(f"{home} is in use by {holder}: stop that, or name another folder with --home") from None
        file.truncate(0)
        file.write(f"alula, process {os.getpid()}")
        file.flush()
        yield


def _listen(port: int, *, asked: bool) -> Iterator[socket.socket]:
    families = [(socket.AF_INET, "127.0.0.1")]
    if socket.has_ipv6:
        families.append((socket.AF_INET6, "::1"))
    for family, address in families:
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            listener.bind((address, port))
        except OSError as error:
            listener.close()
            if family == socket.AF_INET6 and error.errno != errno.EADDRINUSE:  # no IPv6 on this machine
                continue
            choice = "another --port" if asked else "one port of your own with --port"
            raise Unavailable(f"port {port} is in use ({error.strerror}): choose {choice}") from None
        listener.listen(1024)
        listener.setblocking(False)
        yield listener


def _write_config(home: Path, port: int) -> Path:
    """A client configuration, as the SDK reads it (sdk-contract.md 1.1)."""
    path = home / "config.yaml"
    text = (
        f"admin:\n  endpoint: dns:///localhost:{port}\n  insecure: true\n"
        f"task:\n  project: {PROJECT}\n  domain: {_DOMAIN}\nimage:\n  builder: remote\n"
    )
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
    return path


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "local"
