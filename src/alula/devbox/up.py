"""`alula up`: everything in one process, on the loopback interface, kept in one folder. A preset of the settings."""

import getpass
import os
from pathlib import Path

from alula.app.run import Say, run
from alula.base.settings import PORTS, Executor, Identity, Projects, Server, Settings
from alula.core.errors import Unavailable

_DOMAIN = "development"
_LEAST_SLOTS = 16
_SLOTS_PER_CORE = 4


def up(home: Path, port: int | None, say: Say) -> None:
    """Serve until SIGTERM or SIGINT. ``say`` prints a line for the user.

    Raises:
        Conflict: the home is in use, or was made by something else.
        Unavailable: a port is in use, or the disk cannot be written.
    """
    settings = preset(home.expanduser().absolute(), (port,) if port else PORTS)

    def ready(line: str) -> None:
        config = _write_config(settings)
        say(f"  export FLYTECTL_CONFIG={config}")
        say("  flyte run examples/01-hello/hello.py main")
        say(line)

    run(settings, ready)


def preset(home: Path, ports: tuple[int, ...]) -> Settings:
    """The settings of a server for one user."""
    return Settings(
        server=Server(home=home, listen=tuple(f"localhost:{port}" for port in ports)),
        executor=Executor(slots=max(_LEAST_SLOTS, _SLOTS_PER_CORE * (os.cpu_count() or 1))),
        projects=Projects(create_missing=True),
        identity=Identity(user=_user()),
    )


def _write_config(settings: Settings) -> Path:
    """A client configuration, as the SDK reads it (sdk-contract.md 1.1)."""
    path = settings.home / "config.yaml"
    text = (
        f"admin:\n  endpoint: dns:///localhost:{settings.server.port}\n  insecure: true\n"
        f"task:\n  project: {settings.projects.default}\n  domain: {_DOMAIN}\nimage:\n  builder: remote\n"
    )
    try:
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
    except OSError as error:
        raise Unavailable(f"{path} cannot be written ({error.strerror})") from None
    return path


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "local"
