"""A home whose server is killed again and again, and what its tasks do."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from flyteidl2.workflow import run_service_pb2 as pb

from alula.cli.connect import Connect
from alula.core.phase import Phase
from alula.executors.process import tree
from alula.executors.process.worker import SHOWN

RUNS = pb.DESCRIPTOR.services_by_name["RunService"].methods_by_name
DYING = Path(__file__).with_name("dying.py")
ALULA = Path(sys.executable).with_name("alula")
PATIENCE = 60.0

# What each task does: says that it runs (once per attempt, or the test fails), and fails its first attempt if asked to.
SCRIPT = """
import os, sys, time
attempt = os.environ["FLYTE_ATTEMPT_NUMBER"]
with open(sys.argv[1], "a") as file:
    file.write(os.environ["RUN_NAME"] + " " + attempt + "\\n")
time.sleep(float(sys.argv[2]))
sys.exit(int(sys.argv[3]) if attempt == "0" else 0)
"""


@dataclass(frozen=True)
class Work:
    """What a run does: takes so long, and fails its first attempt with this exit code."""

    seconds: float = 0.0
    fails: int = 0
    retries: int = 0


@dataclass(frozen=True)
class Program:
    """A process. ``mark`` is that of its attempt."""

    pid: int
    kind: str  # server, launcher, recorder, parent, worker (idle), reusable, attempt or other
    command: str
    mark: str

    def send(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)


def _kind(command: str, mark: str) -> str:
    name = mark.partition("/")[2]
    if name and not name.startswith("-"):
        return "reusable" if name.startswith("reuse.") else "attempt"
    for kind in ("launcher", "recorder", "parent"):
        if f"alula.executors.process.{kind} import" in command:
            return kind
    if SHOWN.decode() in command:
        return "worker"
    return "server" if "alula up" in command or "dying.py" in command else "other"


class World:
    """A home, its server (whichever lives now), and what its tasks have written."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.ran = folder / "ran"
        self.ran.touch()
        self.log = folder / "server.log"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.process: subprocess.Popen[str] | None = None
        self.took = 0.0  # seconds until the last server was ready
        self.said: dict[str, str] = {}  # of the failures of runs that have ended

    @property
    def endpoint(self) -> str:
        return f"http://localhost:{self.port}"

    def start(self, *command: str, killed_after: float | None = None) -> None:
        """Returns when it is ready, or dead. ``killed_after``: seconds."""
        began = time.monotonic()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log.open("a"), text=True)
        if killed_after is not None:
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(killed_after)
            self.kill()
            return
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if "alula is ready" in line:
                self.took = time.monotonic() - began
                return

    def start_dying(self, when: str, act: str, nth: int) -> None:
        self.start(sys.executable, str(DYING), when, act, str(nth), str(self.home), str(self.port))

    def start_well(self) -> None:
        self.start(*self._up())

    def start_briefly(self, part: float) -> None:
        """A server that is killed after this part of what the one before has taken to be ready."""
        self.start(*self._up(), killed_after=part * self.took)

    def _up(self) -> tuple[str, ...]:
        return (str(ALULA), "up", "--home", str(self.home), "--port", str(self.port))

    def died(self) -> bool:
        assert self.process is not None
        return self.process.wait(PATIENCE) == -signal.SIGKILL

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        """As a power cut would, but for what the server has started."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(PATIENCE)

    def left(self) -> list[str]:
        """Processes that belong to this home: by their command, their folder or their environment."""
        return [f"{one.kind} {one.pid}: {one.command}" for one in self.programs()]

    def programs(self) -> list[Program]:
        """Every process of this home, and what it is."""
        found, identities = [], self._identities()
        for process in psutil.process_iter():
            mark = tree.mark(process.pid)
            try:
                told = [*process.cmdline(), process.cwd()]
                if mark.partition("/")[0] not in identities and not any(str(self.home.parent) in text for text in told):
                    continue
                if process.status() == psutil.STATUS_ZOMBIE or process.pid == os.getpid():
                    continue
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
            found.append(Program(process.pid, _kind(" ".join(told), mark), " ".join(told)[:200], mark))
        return found

    def _identities(self) -> list[str]:
        files = (self.home / name / "id" for name in ("executor", "apps"))
        return [file.read_text().strip() for file in files if file.exists()]

    async def until(self, condition: Callable[[], bool], patience: float = PATIENCE) -> None:
        """Wait for what only the machine can show."""
        async with asyncio.timeout(patience):
            while not condition():
                await asyncio.sleep(0.01)

    def attempts(self) -> Counter[str]:
        return Counter(self.ran.read_text().splitlines())

    async def create(self, name: str, work: Work) -> None:
        request = pb.CreateRunRequest()
        request.run_id.project, request.run_id.domain, request.run_id.name = "flytesnacks", "development", name
        template = request.task_spec.task_template
        template.type, template.id.name = "container", "work"
        template.metadata.retries.retries = work.retries
        template.container.image = "python"
        template.container.args.extend(["python", "-c", SCRIPT, str(self.ran), str(work.seconds), str(work.fails)])
        async with Connect(self.endpoint) as server:
            await server.call(RUNS["CreateRun"], request)

    def log_of(self, run: str, attempt: int) -> str:
        """The log of a run's first action."""
        words = ("logs", "--run-name", run, "--attempt", str(attempt), "--endpoint", self.endpoint)
        command = [str(ALULA.with_name("runs-client")), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    async def end(self, name: str, patience: float | None = PATIENCE) -> tuple[Phase, int]:
        """Wait until a run has ended; how, and after how many attempts."""
        request = pb.WatchRunDetailsRequest()
        request.run_id.project, request.run_id.domain, request.run_id.name = "flytesnacks", "development", name
        async with Connect(self.endpoint) as server, asyncio.timeout(patience):
            async for response in server.stream(RUNS["WatchRunDetails"], request):
                details = response.details.action
        self.said[name] = str(details.error_info)
        assert details.attempts[-1].phase == details.status.phase
        return Phase(details.status.phase), details.status.attempts
