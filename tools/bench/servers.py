"""Servers to measure: any roles over either database, each in a process of its own."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import psutil

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.postgres import running

BIN = Path(sys.executable).parent
DURABLE = {  # what tests do without: an answer is on disk, here as there
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "autovacuum": "on",
    "shared_buffers": "256MB",
}


@dataclass(frozen=True, slots=True)
class Served:
    """A server that answers, and what it costs."""

    port: int
    process: psutil.Process
    database: str  # its URL, or "" for SQLite

    def cpu(self) -> float:
        """Seconds of CPU that the server and its database have taken so far."""
        others = _postgres(self.database) if self.database else []
        return sum(_cpu(process) for process in [self.process, *others])


@contextmanager
def databases(kinds: Sequence[str] = ("sqlite", "postgres")) -> Iterator[dict[str, str]]:
    """A URL for each kind of database; of SQLite, whose file is the server's own, an empty one."""
    found = {"sqlite": ""} if "sqlite" in kinds else {}
    if "postgres" not in kinds:
        yield found
        return
    with running(DURABLE) as cluster:
        yield found | {"postgres": cluster.empty().dsn}


@contextmanager
def serving(folder: Path, roles: Sequence[str] = ("api",), database: str = "") -> Iterator[Served]:
    """A server with these roles and no others; it is migrated before."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "config.toml"
    names = ", ".join(f'"{role}"' for role in roles)
    config.write_text(
        f'[server]\nhome = "home"\nroles = [{names}]\nlisten = ["localhost:{port}"]\n'
        f'[projects]\ncreate_missing = true\n[database]\nurl = "{database}"\n'
    )
    if database:
        subprocess.run([BIN / "alula", "migrate", "--database", database], check=True, stdout=subprocess.DEVNULL)
    with (
        (folder / "server.log").open("a") as log,
        subprocess.Popen(
            [BIN / "alula", "serve", "--config", config], stdout=subprocess.PIPE, stderr=log, text=True
        ) as process,
    ):
        assert process.stdout is not None
        while "alula is ready" not in (line := process.stdout.readline()):
            if not line:
                raise SystemExit(f"the server did not start: {(folder / 'server.log').read_text()}")
        try:
            yield Served(port, psutil.Process(process.pid), database)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def _postgres(url: str) -> list[psutil.Process]:
    """The processes of the server whose socket is in the folder that a URL names."""
    data = f"{unquote(url.rpartition('host=')[2])}/data"
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or [""]
        if data in words and Path(words[0]).name == "postgres":
            return [process, *process.children(recursive=True)]
    return []


def _cpu(process: psutil.Process) -> float:
    """With that of its children that have ended."""
    try:
        return float(sum(process.cpu_times()[:4]))
    except psutil.NoSuchProcess:
        return 0.0
