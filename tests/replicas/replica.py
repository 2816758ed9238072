"""Real `alula serve` processes on one PostgreSQL database, with one home and one folder of objects."""

import json
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

import asyncpg
import psutil

from alula.storage.address import PostgresServer
from tests.api.caller import Caller
from tests.api.served import ALULA, free_port
from tests.postgres import run

TERM = 6.0  # seconds until a silent replica is replaced
PATIENCE = 30.0


class Replica:
    """One process. ``a`` and ``b`` do everything; ``c`` only answers and fires triggers."""

    def __init__(self, cluster: "Cluster", name: str, roles: Sequence[str]) -> None:
        self.cluster = cluster
        self.name = name
        self.port = free_port()
        self.log_file = cluster.folder / f"{name}.log"
        self.config = cluster.folder / f"{name}.toml"
        self.config.write_text(
            f"[server]\nhome = {json.dumps(str(cluster.home))}\nname = {json.dumps(name)}\n"
            f"roles = {json.dumps(list(roles))}\nlisten = ['localhost:{self.port}']\nterm = {TERM}\n"
            f"[database]\nurl = {json.dumps(cluster.server.dsn)}\n"
            "[projects]\ncreate_missing = true\n"
        )
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> Self:
        """Start it; `wait` returns once it is ready."""
        command = [ALULA, "serve", "--config", str(self.config)]
        with self.log_file.open("a") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True
            )
        self.ready = threading.Event()
        self._reader = threading.Thread(target=self._read, args=[self.process], daemon=True)
        self._reader.start()
        return self

    def _read(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                if "is ready" in line:
                    self.ready.set()

    def wait(self) -> Self:
        assert self.ready.wait(PATIENCE), self.log
        return self

    def send(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send it a signal, and wait for its end; its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    @property
    def caller(self) -> Caller:
        return Caller(self.url)

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def tasks(self) -> list[psutil.Process]:
        """The processes of attempts that it has started: they work below its folder."""
        private = str(self.cluster.home / "replicas" / self.name / "executor" / "attempts")
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.cwd().startswith(private) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found


class Cluster:
    """Three replicas."""

    def __init__(self, folder: Path, server: PostgresServer) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.server = server
        self.a = Replica(self, "a", ["api", "reconciler", "scheduler", "notifier", "apps", "retention"])
        self.b = Replica(self, "b", ["api", "reconciler", "scheduler", "notifier", "apps", "retention"])
        self.c = Replica(self, "c", ["api", "scheduler"])

    @contextmanager
    def at_work(self) -> Iterator[Self]:
        replicas = (self.a, self.b, self.c)
        try:
            for replica in replicas:
                replica.start()
            for replica in replicas:
                replica.wait()
            yield self
            assert [replica.stop() for replica in replicas] == [0, 0, 0]
            assert not [replica.name for replica in replicas if "Traceback" in replica.log]
        finally:
            for replica in replicas:
                print(f"--- the log of {replica.name}\n{replica.log[-8000:]}")  # shown if something failed
                if replica.process is not None and replica.process.poll() is None:
                    replica.process.kill()
                    replica.process.wait()

    def rows(self, sql: str) -> list[asyncpg.Record]:
        """What is in the database."""
        return run(self._rows(sql))

    async def _rows(self, sql: str) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.server.dsn)
        try:
            return list(await connection.fetch(sql))
        finally:
            await connection.close()
