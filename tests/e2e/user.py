"""A user of alula: a server that is theirs, programs of the SDK that they run against it, and the ``flyte`` command."""

import ast
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

PROGRAMS = Path(__file__).parent / "programs"
BIN = Path(sys.executable).parent
PATIENCE = 100.0  # seconds until a program that hangs is a failure
_CREATED = re.compile(r"Created Run: ([a-z0-9-]+)")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m|\x1b\]8;[^\x1b]*\x1b\\")

Told = dict[str, Any]


class User:
    """Runs programs and commands as somebody at a shell does, with a home directory of their own."""

    def __init__(self, home: Path, server: Path, port: int) -> None:
        self.home, self.port = home, port
        keys = json.loads((server / "keys.json").read_text())
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
        self.env = {
            **kept,
            "HOME": str(home),  # the SDK remembers uploads by endpoint there
            "FLYTECTL_CONFIG": str(server / "config.yaml"),
            "FLYTE_DISABLE_TELEMETRY": "1",
            "COLUMNS": "250",
            "NO_COLOR": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            # What a client needs to read and write objects itself, and not only through signed URLs.
            "FLYTE_AWS_ENDPOINT": self.url,
            "FLYTE_AWS_ACCESS_KEY_ID": keys["key_id"],
            "FLYTE_AWS_SECRET_ACCESS_KEY": keys["secret"],
            "AWS_REGION": "us-east-1",
        }

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    def python(self, program: str, *arguments: str, cwd: Path = PROGRAMS, env: Mapping[str, str] | None = None) -> Told:
        """Run a program; what it told in its last line.

        Its exit code says nothing: the SDK's HTTP client may abort an interpreter that ends while its threads do.
        """
        ran = self._run([str(BIN / "python"), program, *arguments], cwd, env)
        last = ran.stdout.rstrip("\n").rpartition("\n")[2]
        try:
            told: Told = json.loads(last)
        except ValueError:
            text = f"{program} told nothing; exit code {ran.returncode}\n{ran.stdout[-4000:]}\n{ran.stderr[-4000:]}"
            raise AssertionError(text) from None
        return told

    def flyte(self, *words: str, cwd: Path = PROGRAMS, fails: bool = False, wide: bool = False) -> str:
        """Run the SDK's command; everything it printed. It breaks lines, also those of JSON, unless they are wide."""
        ran = self._run([str(BIN / "flyte"), *words], cwd, {"COLUMNS": "1000000"} if wide else None)
        printed = _COLOUR.sub("", ran.stdout + ran.stderr)
        aborted = ran.returncode == -signal.SIGABRT  # after complete output, see `python`
        assert aborted or (ran.returncode != 0) == fails, f"flyte {' '.join(words)}: {ran.returncode}\n{printed}"
        return printed

    def json(self, *words: str) -> Any:
        """What the SDK's command says as data: lists as JSON, single things as Python spells them."""
        said = self.flyte("-of", "json-raw", *words, wide=True)
        try:
            return json.loads(said)
        except ValueError:
            return ast.literal_eval(said)

    def start(self, *words: str, cwd: Path = PROGRAMS) -> str:
        """Run a task with ``flyte run``; the name of the run."""
        return _created(self.flyte("run", *words, cwd=cwd))

    def start_again(self, run: str, *words: str) -> str:
        """Run the same once more with ``flyte rerun``; the name of the new run."""
        return _created(self.flyte("rerun", run, *words))

    def outputs(self, run: str, action: str = "a0") -> str:
        """What an action returned, as the SDK spells it; waits for its end."""
        self.flyte("get", "logs", run, action)
        lines = self.flyte("get", "io", run, action, "--outputs-only", wide=True).splitlines()
        return next(line.strip("│ ") for line in lines if "ActionOutputs(" in line)

    def _run(self, command: list[str], cwd: Path, env: Mapping[str, str] | None) -> "subprocess.CompletedProcess[str]":
        try:
            return subprocess.run(
                command, cwd=cwd, env={**self.env, **(env or {})}, capture_output=True, text=True, timeout=PATIENCE,
                stdin=subprocess.DEVNULL, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as late:
            told = b"".join(part for part in (late.stdout, late.stderr) if isinstance(part, bytes)).decode()
            raise AssertionError(f"{' '.join(command)} did not end in {PATIENCE:.0f} s:\n{told[-4000:]}") from None


def _created(printed: str) -> str:
    found = _CREATED.search(printed)
    assert found is not None, printed
    return found[1]


class Served:
    """A running server: its process and what it said."""

    def __init__(self, process: "subprocess.Popen[str]", home: Path, port: int) -> None:
        self.process, self.home, self.port = process, home, port
        self.log: list[str] = []
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.log.append(line)
            if line.startswith("alula is ready"):
                self._ready.set()
        self._ready.set()

    def wait_until_ready(self) -> None:
        ready = self._ready.wait(PATIENCE) and self.process.poll() is None
        assert ready, f"the server did not start:\n{''.join(self.log)}"

    def stop(self) -> int:
        """End it as a service manager does; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code


@contextmanager
def serving(home: Path, told: str = "") -> Iterator[Served]:
    """A server with a fresh home on a free port, for oneself, or (``told`` is TOML) as its file says.

    It has to end well, with nothing left of it.
    """
    port = _free_port()
    command = [str(BIN / "alula"), "up", "--home", str(home), "--port", str(port)]
    if told:
        file = _configured(home, port, told)
        command = [str(BIN / "alula"), "serve", "--config", str(file)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    served = Served(process, home, port)
    try:
        served.wait_until_ready()
        yield served
        assert _processes(home), "the server's processes are not found: the check below would prove nothing"
        code = served.stop()
        said = "".join(served.log)
        assert code == 0, f"the server ended with {code}:\n{said[-8000:]}"
        assert not (left := _processes(home)), f"processes outlived the server: {left}"
        assert "Traceback" not in said, said[-8000:]
        assert " ERROR " not in said, said[-8000:]
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _configured(home: Path, port: int, told: str) -> Path:
    """A file for the server, and one for its clients."""
    home.mkdir(mode=0o700)
    place = f"admin:\n  endpoint: dns:///localhost:{port}\n  insecure: true\n"
    task = "task:\n  project: flytesnacks\n  domain: development\nimage:\n  builder: remote\n"
    (home / "config.yaml").write_text(place + task)
    file = home / "alula.toml"
    file.write_text(f'[server]\nhome = "{home}"\nlisten = ["localhost:{port}"]\n{told}')
    return file


def _processes(home: Path) -> list[list[str]]:
    """The commands of all processes that work in a server's home or were told of it: its own and its tasks'."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            command = process.cmdline()
            if process.status() != psutil.STATUS_ZOMBIE and str(home) in " ".join([process.cwd(), *command]):
                found.append(command)
    return found


def _free_port() -> int:
    """A port that nobody has, on either loopback address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
