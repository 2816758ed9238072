"""Every process of a home is killed at random under a mixed load: parents with children that sleep, fail at first, work
and print; tasks that share processes; commands that fail and are tried again. Every run ends as it would have.

``ALULA_CHAOS`` says how many are killed, ``ALULA_CHAOS_SEED`` in which order. Many are killed in several homes.
"""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import NamedTuple, TypeVar

import pytest
from flyteidl2.workflow import run_service_pb2 as pb

from alula.cli.connect import CallFailed, Connect
from alula.core.phase import Phase
from alula.executors.process import records
from alula.executors.process.peers import SOCKET

from .world import RUNS, Program, Work, World

KILLS = int(os.environ.get("ALULA_CHAOS", "6"))
SEED = int(os.environ.get("ALULA_CHAOS_SEED", "1"))
MOST = 125  # kills in one home
HOMES = [(SEED + start // MOST, min(MOST, KILLS - start)) for start in range(0, KILLS, MOST)]
ALL = ("server", "launcher", "recorder", "parent", "worker", "reusable", "attempt")
NOTICED = {"server", "launcher", "recorder"}  # their deaths are noticed by every run
AGAIN = 0.3  # how often one more is killed before anything went on
FORGIVEN = 3  # deaths by a signal; the next one ends an action
WIDTH = 4  # children of a parent, and then half as many that share processes
PATIENCE = 150.0  # seconds; with the machine for itself it takes five

Answer = TypeVar("Answer")


class Line(NamedTuple):
    """What a task of a parent has written."""

    word: str  # begin or done
    run: str
    what: str
    attempt: int
    pid: int


class Load:
    """Keeps a server busy: as one run ends, the next begins."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._numbers = count()
        self.over = asyncio.Event()
        self.ended: dict[str, int] = {}  # runs, and after how many attempts

    def parents(self) -> int:
        """How many parents have ended."""
        return sum(name.startswith("p") for name in self.ended)

    async def run_parents(self) -> None:
        while not self.over.is_set():
            name = f"p{next(self._numbers)}"
            request = pb.CreateRunRequest()
            request.run_id.project, request.run_id.domain, request.run_id.name = "flytesnacks", "development", name
            task = request.task_id
            task.project, task.domain, task.name, task.version = "flytesnacks", "development", "chaos.main", "1"
            given = request.inputs.literals.add(name="n")
            given.value.scalar.primitive.integer = WIDTH
            await self._run(name, partial(self._create, request))

    async def run_commands(self) -> None:
        kinds = [Work(), Work(seconds=0.4), Work(fails=3, retries=1)]
        while not self.over.is_set():
            number = next(self._numbers)
            name, work = f"c{number}", kinds[number % len(kinds)]
            await self._run(name, partial(self._world.create, name, work))

    async def _create(self, request: pb.CreateRunRequest) -> None:
        async with Connect(self._world.endpoint) as server:
            await server.call(RUNS["CreateRun"], request)

    async def _run(self, name: str, create: Callable[[], Awaitable[None]]) -> None:
        await insist(create)
        phase, attempts = await insist(partial(self._world.end, name, None))
        assert phase is Phase.SUCCEEDED, f"{name} ended as {phase.name}: {self._world.said[name]}"
        self.ended[name] = attempts


async def insist(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """Ask until there is a server that answers. Whoever kills servers has an eye on the time."""
    while True:
        try:
            return await ask()
        except CallFailed as failed:
            if failed.code != "unavailable":
                raise
        await asyncio.sleep(0.05)


def deploy(world: World) -> None:
    env = {
        **os.environ, "FLYTECTL_CONFIG": str(world.home / "config.yaml"), "HOME": str(world.home.parent),
        "RAN": str(world.ran), "FLYTE_DISABLE_TELEMETRY": "1",
    }  # fmt: skip
    program = Path(__file__).with_name("load.py")
    ran = subprocess.run([sys.executable, program], env=env, capture_output=True, text=True, check=False)
    assert ran.stdout.endswith("deployed\n"), ran.stderr


def lines(world: World) -> list[Line]:
    """What the tasks of parents have written."""
    found = (line.split() for line in world.ran.read_text().splitlines())
    return [Line(one[0], one[1], one[2], int(one[3]), int(one[4])) for one in found if len(one) == 5]


def forgiven(world: World, program: Program) -> bool:
    """Whether what dies with a process is tried again. That of an action which was killed too often is not."""
    if program.kind == "attempt":
        return int(program.mark.rpartition(".")[2]) < FORGIVEN
    if program.kind == "reusable":
        told = [line for line in lines(world) if line.pid == program.pid]
        done = {(line.run, line.what) for line in told if line.word == "done"}
        return all(line.attempt < FORGIVEN for line in told if (line.run, line.what) not in done)
    return True


def seen(world: World, kinds: set[str]) -> Callable[[], bool]:
    """Whether there was one of each kind by now."""
    found: set[str] = set()

    def all_seen() -> bool:
        found.update(one.kind for one in world.programs())
        return found >= kinds

    return all_seen


def choose(dice: random.Random, world: World, kinds: Sequence[str]) -> Program | None:
    """One of these kinds, if there are any; each kind is as likely."""
    programs = [one for one in world.programs() if one.kind in kinds and forgiven(world, one)]
    there = sorted({one.kind for one in programs})
    if not there:
        return None
    kind = dice.choice(there)
    return dice.choice([one for one in programs if one.kind == kind])


async def kill(world: World, load: Load, dice: random.Random, kinds: Sequence[str], killed: list[str]) -> None:
    """Kill one process, sometimes more amid what follows from it, and start the server again if it was one of them.

    ``killed``: of which kinds. Returns once a task was done after a death, or a whole parent after a death that all
    runs notice: else none would ever be.
    """
    victims: set[str] = set()
    starting: asyncio.Task[None] | None = None
    try:
        while not victims or dice.random() < AGAIN:
            await asyncio.sleep(dice.uniform(0.0, world.took if victims else 0.2))  # no moment is spared
            victim = await asyncio.to_thread(choose, dice, world, [kind for kind in kinds if kind not in victims])
            if victim is None:
                break
            victim.send(signal.SIGKILL)
            killed.append(victim.kind)
            victims.add(victim.kind)
            if victim.kind == "server":
                starting = asyncio.create_task(start_again(world, dice, killed))
    finally:
        if starting is not None:
            await starting
    await progress(world, load.parents if victims & NOTICED else partial(done, world))


async def start_again(world: World, dice: random.Random, killed: list[str]) -> None:
    """Start the server; sometimes it does not live to be ready."""
    assert await asyncio.to_thread(world.died)
    while dice.random() < AGAIN:
        await asyncio.to_thread(world.start_briefly, dice.uniform(0.3, 1.0))
        killed.append("server")
    await asyncio.to_thread(world.start_well)


async def progress(world: World, counted: Callable[[], int]) -> None:
    """Wait until there is more of it."""
    before = counted()
    try:
        await world.until(lambda: counted() > before, PATIENCE)
    except TimeoutError:
        told = "\n".join(map(str, lines(world)[-20:]))
        pytest.fail(f"nothing happens any more; what is there: {world.left()}; the last lines of parents:\n{told}")


def done(world: World) -> int:
    """How many tasks of parents have done their work."""
    return world.ran.read_bytes().count(b"done ")


def twice(world: World) -> list[str]:
    """Attempts that began more than once."""
    told = Counter(f"{line.run} {line.what} {line.attempt}" for line in lines(world) if line.word == "begin")
    told.update(line for line in world.ran.read_text().splitlines() if len(line.split()) == 2)
    return [what for what, times in told.items() if times > 1]


def leftovers(world: World) -> list[str]:
    """The attempts whose folders are there; workers for many attempts are not in a hurry to end."""
    folders = (world.home / "executor" / "attempts").iterdir()
    names = [(records.read(folder / records.MARKER) or {"name": str(folder)})["name"] for folder in folders]
    return [name for name in names if not name.startswith("reuse.")]


async def run(world: World, dice: random.Random, kinds: Sequence[str], times: int) -> int:
    """Work and kill; then everything has to end. Says what has happened; how often a task was done again."""
    world.start_well()
    await asyncio.to_thread(deploy, world)
    load, killed, began = Load(world), list[str](), time.monotonic()
    try:
        async with asyncio.TaskGroup() as tasks:
            doing = (load.run_parents, load.run_parents, load.run_commands)
            works = [tasks.create_task(work()) for work in doing]
            await world.until(seen(world, set(kinds)), PATIENCE)
            while len(killed) < times:
                await kill(world, load, dice, kinds, killed)
            spent = time.monotonic() - began
            load.over.set()
            async with asyncio.timeout(PATIENCE):
                await asyncio.wait(works)
        await world.until(lambda: not leftovers(world))
    except BaseException as error:
        error.add_note(f"after {len(killed)} kills, the last of {killed[-8:]}")
        raise
    finally:
        code = world.stop()
    assert code == 0
    assert world.left() == []
    assert not (world.home / "executor" / SOCKET).exists()
    assert twice(world) == []
    again = check(world, load)
    of = ", ".join(f"{number} {kind}" for kind, number in sorted(Counter(killed).items()))
    most = max(load.ended.values())
    print(
        f"{len(killed)} killed in {spent:.0f} s ({of}): {len(load.ended)} runs, the longest of {most} attempts, ",
        end="",
    )
    print(f"{again} of {done(world)} tasks done again")
    return again


def check(world: World, load: Load) -> int:
    """Whether each task of each parent was done; how often one was done again."""
    done = Counter((line.run, line.what) for line in lines(world) if line.word == "done")
    whole = {"main0", *(f"leaf{x}" for x in range(WIDTH)), *(f"reused{x}" for x in range(WIDTH // 2))}
    assert load.parents()
    for name in load.ended:
        if name.startswith("p"):
            assert {what for run, what in done if run == name} == whole
    return done.total() - len(done)


@pytest.mark.timeout(2 * PATIENCE + 15 * KILLS)
async def test_servers_are_killed(tmp_path: Path) -> None:
    """Nothing but servers: what runs goes on. Only who could not reach one for longer than the SDK tries runs again."""
    times = max(2, KILLS // 20)
    assert await run(World(tmp_path), random.Random(SEED), ["server"], times) <= times // 4


@pytest.mark.timeout(2 * PATIENCE + 15 * MOST)
@pytest.mark.parametrize(("seed", "times"), HOMES)
async def test_everything_is_killed(tmp_path: Path, seed: int, times: int) -> None:
    """No run fails by it, and nothing that has succeeded is done again but by who was killed before it could say so."""
    print(f"seed {seed}: ", end="")
    assert await run(World(tmp_path), random.Random(seed), ALL, times) <= times
