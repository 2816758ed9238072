"""The server dies by SIGKILL between any two acts. After a restart every accepted run ends right, nothing ran twice
within one attempt, and no process is left behind."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from flyteidl2.workflow import run_service_pb2 as pb

from alula.cli.connect import CallFailed, Connect
from alula.core.phase import Phase

from .dying import ACTS

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

    @property
    def endpoint(self) -> str:
        return f"http://localhost:{self.port}"

    def start(self, *command: str) -> None:
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log.open("a"), text=True)
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if "alula is ready" in line:
                return

    def start_dying(self, when: str, act: str, nth: int) -> None:
        self.start(sys.executable, str(DYING), when, act, str(nth), str(self.home), str(self.port))

    def start_well(self) -> None:
        self.start(str(ALULA), "up", "--home", str(self.home), "--port", str(self.port))

    def died(self) -> bool:
        assert self.process is not None
        return self.process.wait(PATIENCE) == -signal.SIGKILL

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def left(self) -> list[str]:
        """Processes that belong to this home: by their command, their folder or their environment."""
        found = []
        for process in psutil.process_iter():
            try:
                told = [*process.cmdline(), process.cwd()]
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
            if any(str(self.home.parent) in text for text in told) and process.pid != os.getpid():
                found.append(" ".join(told))
        return found

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

    async def end(self, name: str) -> tuple[Phase, int]:
        """Wait until a run has ended; how, and after how many attempts."""
        request = pb.WatchRunDetailsRequest()
        request.run_id.project, request.run_id.domain, request.run_id.name = "flytesnacks", "development", name
        async with Connect(self.endpoint) as server, asyncio.timeout(PATIENCE):
            async for response in server.stream(RUNS["WatchRunDetails"], request):
                details = response.details.action
        assert details.attempts[-1].phase == details.status.phase
        return Phase(details.status.phase), details.status.attempts


WANTED = {"quick": Work(), "slow": Work(seconds=0.3), "again": Work(fails=3, retries=1)}


async def _create_all(world: World) -> list[str]:
    """Ask for runs until the server dies; the names of those it accepted."""
    accepted = []
    for name, work in WANTED.items():
        try:
            await world.create(name, work)
        except CallFailed:
            break
        accepted.append(name)
    return accepted


CASES = [
    (act, nth) for act in ACTS if act != "Actions.enqueue" for nth in (1, 3) if (act, nth) != ("Attempts.retry", 3)
]


@pytest.mark.parametrize("when", ["BEFORE", "AFTER"])
@pytest.mark.parametrize(("act", "nth"), CASES)
async def test_a_death_between_two_acts_loses_nothing(tmp_path: Path, when: str, act: str, nth: int) -> None:
    """Case C1: also between the commit and the first start; and none of it takes a client's doing."""
    world = World(tmp_path)
    world.start_dying(when, act, nth)
    accepted = await _create_all(world)
    assert world.died()
    world.start_well()
    try:
        for name in accepted:
            phase, attempts = await world.end(name)
            assert phase is Phase.SUCCEEDED, f"{name}: {phase.name}\n{world.log.read_text()}"
            assert attempts <= 3
            assert sum(n for key, n in world.attempts().items() if key.startswith(f"{name} ")) >= 1
        for name in WANTED.keys() - set(accepted):  # one whose answer was lost may be asked for again
            await world.create(name, WANTED[name])
            assert (await world.end(name))[0] is Phase.SUCCEEDED
    finally:
        assert world.stop() == 0
    twice = {key: count for key, count in world.attempts().items() if count > 1}
    assert not twice, f"ran twice within one attempt: {twice}"
    assert world.left() == []


PROGRAM = """
import asyncio, json, os, flyte
env = flyte.TaskEnvironment(name="crash")

@env.task
async def leaf(x: int) -> int:
    with open(os.environ["RAN"], "a") as file:
        file.write(f"{os.environ['ACTION_NAME']} {os.environ['FLYTE_ATTEMPT_NUMBER']}\\n")
    await asyncio.sleep(0.05)
    return x + 1

@env.task
async def main(n: int) -> int:
    return sum(await asyncio.gather(*(leaf(x) for x in range(n))))

if __name__ == "__main__":
    flyte.init_from_config()
    run = flyte.with_runcontext(env_vars={"RAN": os.environ["RAN"]}).run(main, 12)
    print(json.dumps(run.name), flush=True)
    os._exit(0)
"""


@pytest.mark.parametrize(("when", "act", "nth"), [("AFTER", "Actions.enqueue", 7), ("BEFORE", "Attempts.settle", 4)])
async def test_a_parent_goes_on_where_it_was(tmp_path: Path, when: str, act: str, nth: int) -> None:
    """Case C15: also a parent goes on, and its children, when their server is gone: it comes back."""
    world = World(tmp_path)
    world.start_dying(when, act, nth)
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    env = os.environ | {
        "FLYTECTL_CONFIG": str(world.home / "config.yaml"),
        "HOME": str(tmp_path),
        "RAN": str(world.ran),
        "FLYTE_DISABLE_TELEMETRY": "1",
    }
    told = subprocess.run([sys.executable, program], env=env, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert told.stdout, told.stderr
    assert world.died()
    world.start_well()
    try:
        phase, attempts = await world.end(json.loads(told.stdout))
        assert (phase, attempts) == (Phase.SUCCEEDED, 1), world.log.read_text()
    finally:
        assert world.stop() == 0
    assert len({key.split()[0] for key in world.attempts()}) == 12
    assert max(world.attempts().values()) == 1
    assert world.left() == []
