"""Every process of a home is killed at random under a mixed load: parents with children that sleep, fail at first, work
and print; tasks that share processes; commands that fail and are tried again. Every run ends as it would have.

``ALULA_CHAOS`` says how many are killed, ``ALULA_CHAOS_SEED`` in which order.
"""

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import TypeVar

import pytest
from flyteidl2.workflow import run_service_pb2 as pb

from alula.cli.connect import CallFailed, Connect
from alula.core.phase import Phase
from alula.executors.process import records
from alula.executors.process.peers import SOCKET

from .world import RUNS, Program, Work, World

KILLS = int(os.environ.get("ALULA_CHAOS", "0"))
SEED = int(os.environ.get("ALULA_CHAOS_SEED", "1"))
ALL = ("server", "launcher", "recorder", "parent", "worker", "attempt")
WIDTH = 5  # children of a parent, and then half as many that share processes
PATIENCE = 120.0

Answer = TypeVar("Answer")

# Beside another worker of the tests, work that has to end between two deaths did not always end in time.
pytestmark = pytest.mark.skipif(not KILLS, reason="nothing is killed at random: `make chaos` does that, alone")
Line = tuple[str, str, str, int, int]  # begin or done, run, what, attempt, pid


class Load:
    """Keeps a server busy: as one run ends, the next begins."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._numbers = count()
        self.over = asyncio.Event()
        self.ended: dict[str, int] = {}  # runs, and after how many attempts
        self.spent: list[str] = []  # runs of which too much was killed: what an action is forgiven has an end
        self.progress = asyncio.Event()  # a parent has ended

    async def parents(self) -> None:
        while not self.over.is_set():
            name = f"p{next(self._numbers)}"
            request = pb.CreateRunRequest()
            request.run_id.project, request.run_id.domain, request.run_id.name = "flytesnacks", "development", name
            task = request.task_id
            task.project, task.domain, task.name, task.version = "flytesnacks", "development", "chaos.main", "1"
            given = request.inputs.literals.add(name="n")
            given.value.scalar.primitive.integer = WIDTH

            await insist(partial(self._create, request))
            await self._end(name)

    async def commands(self) -> None:
        kinds = [Work(), Work(seconds=0.4), Work(fails=3, retries=1)]
        while not self.over.is_set():
            number = next(self._numbers)
            name, work = f"c{number}", kinds[number % len(kinds)]
            await insist(partial(self._world.create, name, work))
            await self._end(name)

    async def _create(self, request: pb.CreateRunRequest) -> None:
        async with Connect(self._world.endpoint) as server:
            await server.call(RUNS["CreateRun"], request)

    async def _end(self, name: str) -> None:
        phase, self.ended[name] = await insist(partial(self._world.end, name))
        said = self._world.said[name]
        if phase is Phase.FAILED and "gave up after" in said:
            self.spent.append(name)
        else:
            assert phase is Phase.SUCCEEDED, f"{name} ended as {phase.name}: {said}"
        if name.startswith("p"):
            self.progress.set()


async def insist(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """Ask until there is a server that answers."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await ask()
            except CallFailed as failed:
                if failed.code != "unavailable":
                    raise
            await asyncio.sleep(0.1)


def deploy(world: World) -> None:
    env = {
        **os.environ, "FLYTECTL_CONFIG": str(world.home / "config.yaml"), "HOME": str(world.home.parent),
        "RAN": str(world.ran), "FLYTE_DISABLE_TELEMETRY": "1",
    }  # fmt: skip
    program = Path(__file__).with_name("load.py")
    ran = subprocess.run([sys.executable, program], env=env, capture_output=True, text=True, check=False)
    assert ran.stdout.endswith("deployed\n"), ran.stderr


def choose(dice: random.Random, programs: Sequence[Program], kinds: Sequence[str]) -> Program:
    kind = dice.choice([kind for kind in kinds if any(one.kind == kind for one in programs)])
    return dice.choice([one for one in programs if one.kind == kind])


async def kill(world: World, load: Load, dice: random.Random, kinds: Sequence[str], times: int) -> Counter[str]:
    """Kill so many processes, and start the server again when it was one of them; how many of which kind.

    After a death that all runs notice there is time for one of them to end: patience has its limits in the SDK, too.
    """
    killed: Counter[str] = Counter()
    while killed.total() < times:
        await asyncio.sleep(dice.uniform(0.1, 1.0))
        victim = choose(dice, await asyncio.to_thread(world.programs), kinds)
        killed[victim.kind] += 1
        victim.send(signal.SIGKILL)
        if victim.kind == "server":
            await asyncio.to_thread(world.died)
            await asyncio.to_thread(world.start_well)
        if victim.kind in ("server", "launcher", "recorder"):
            load.progress.clear()
            async with asyncio.timeout(PATIENCE):
                await load.progress.wait()
    return killed


def lines(world: World) -> list[Line]:
    """What the tasks of parents have written."""
    found = (line.split() for line in world.ran.read_text().splitlines())
    return [(one[0], one[1], one[2], int(one[3]), int(one[4])) for one in found if len(one) == 5]


def twice(world: World) -> list[str]:
    """Attempts that began more than once."""
    told = Counter(f"{run} {what} {attempt}" for word, run, what, attempt, _ in lines(world) if word == "begin")
    told.update(line for line in world.ran.read_text().splitlines() if len(line.split()) == 2)
    return [what for what, times in told.items() if times > 1]


def leftovers(world: World) -> list[str]:
    """The attempts whose folders are there; workers for many attempts are not in a hurry to end."""
    folders = (world.home / "executor" / "attempts").iterdir()
    names = [(records.read(folder / records.MARKER) or {"name": str(folder)})["name"] for folder in folders]
    return [name for name in names if not name.startswith("reuse.")]


async def run(world: World, dice: random.Random, kinds: Sequence[str], times: int) -> tuple[Load, Counter[str]]:
    """Work and kill; then everything has to end."""
    world.start_well()
    await asyncio.to_thread(deploy, world)
    load = Load(world)
    try:
        async with asyncio.TaskGroup() as tasks:
            for work in (load.parents, load.parents, load.commands, load.commands):
                tasks.create_task(work())
            killed = await kill(world, load, dice, kinds, times)
            load.over.set()
        await world.until(lambda: not leftovers(world))
    finally:
        code = world.stop()
    assert code == 0
    assert world.left() == []
    assert not (world.home / "executor" / SOCKET).exists()
    assert twice(world) == []
    assert len(load.spent) <= times // 50
    return load, killed


def check(world: World, load: Load, killed: Counter[str]) -> int:
    """Whether each task of each parent was done; how often one was done again."""
    done = Counter((run, what) for word, run, what, _, _ in lines(world) if word == "done")
    whole = {"main0", *(f"leaf{x}" for x in range(WIDTH)), *(f"reused{x}" for x in range(WIDTH // 2))}
    parents = [name for name in load.ended if name.startswith("p") and name not in load.spent]
    assert parents
    for name in parents:
        assert {what for run, what in done if run == name} == whole
    again = done.total() - len(done)
    print(f"killed {dict(killed)}; {len(load.ended)} runs, {len(load.spent)} of them given up; ", end="")
    print(f"one took {max(load.ended.values())} attempts; {again} of {len(done)} tasks done again")
    return again


@pytest.mark.timeout(120 + 15 * KILLS)
async def test_servers_are_killed(tmp_path: Path) -> None:
    """Nothing but servers: what runs goes on. Only who could not reach one for longer than the SDK tries runs again."""
    world = World(tmp_path)
    load, killed = await run(world, random.Random(SEED), ["server"], max(2, KILLS // 4))
    assert check(world, load, killed) <= killed.total() // 4
    assert not load.spent


@pytest.mark.timeout(120 + 15 * KILLS)
async def test_everything_is_killed(tmp_path: Path) -> None:
    """No run fails by it, and nothing that has succeeded is done again but by who was killed before it could say so."""
    world = World(tmp_path)
    load, killed = await run(world, random.Random(SEED), ALL, KILLS)
    assert check(world, load, killed) <= killed.total()
