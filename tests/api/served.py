"""A real server in a process of its own, with a home and a port of its own."""

import getpass
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Self, TypeVar

import psutil

BIN = Path(sys.executable).parent
ALULA, CLIENT = str(BIN / "alula"), str(BIN / "runs-client")
T = TypeVar("T")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


class Served:
    """`alula up`, as a user starts it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.port = free_port()
        self.log_file = home.with_name(f"{home.name}.log")
        self.process: subprocess.Popen[str] | None = None

    @property
    def command(self) -> list[str]:
        return [ALULA, "up", "--home", str(self.home), "--port", str(self.port)]

    def start(self) -> Self:
        """Start it, and return once it says that it is ready."""
        with self.log_file.open("a") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if "is ready" in line:
                return self
        raise AssertionError(f"it ended with {self.process.wait()} and said: {self.log}")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send it a signal; its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            code = self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    @property
    def address(self) -> str:
        return f"localhost:{self.port}"

    @property
    def log(self) -> str:
        """What the server has logged."""
        return self.log_file.read_text()

    def client(self, kind: Callable[[str], T]) -> T:
        """A client of one of the service's classes that the SDK uses."""
        return kind(self.url)

    def family(self) -> list[psutil.Process]:
        """The server and every process below it."""
        top = psutil.Process(self.pid)
        return [top, *top.children(recursive=True)]

    def memory(self) -> float:
        """Resident megabytes of the server itself."""
        resident: int = psutil.Process(self.pid).memory_info().rss
        return resident / 1e6


class Configured(Served):
    """`alula serve`, with a database that is elsewhere."""

    def __init__(self, home: Path, url: str) -> None:
        super().__init__(home)
        self._config = home.with_name("alula.toml")
        self._config.write_text(
            f'[server]\nhome = "{home}"\nlisten = ["localhost:{self.port}"]\n'
            f'[database]\nurl = "{url}"\n[projects]\ncreate_missing = true\n'
            f'[identity]\nuser = "{getpass.getuser()}"\n'
        )

    @property
    def command(self) -> list[str]:
        return [ALULA, "serve", "--config", str(self._config)]
