"""Attempts that share a process keep what each is promised: identity, log, end and abort; and what ends the process.

The real SDK runs in the workers, over a folder; there is no server that tasks could call.
"""

import asyncio
import io
import signal
import tarfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from flyteidl2.core import execution_pb2
from flyteidl2.task import common_pb2

from alula.core.errors import LaunchRefused
from alula.core.launch import Launch, Observation, Originator, Presence, Reuse
from alula.executors.process import tree
from alula.executors.process.executor import ProcessExecutor
from alula.executors.process.reuse.executor import ReusingExecutor

from . import hello
from .conftest import OVER

pytestmark = pytest.mark.asyncio(loop_scope="module")

SOURCE = """
import asyncio, ctypes, logging, os, subprocess, sys, threading, time
import flyte

env = flyte.TaskEnvironment(name="shared")

@env.task
async def pid() -> int:
    return os.getpid()

@env.task
async def speaks() -> int:
    me = flyte.ctx().action.name
    print("python", me)
    await asyncio.sleep(0.05)
    sys.stderr.write(f"stderr {me}\\n")
    logging.getLogger().warning("logged %s", me)
    sys.stdout.buffer.write(b"raw " + me.encode() + b"\\n")
    ctypes.CDLL(None).puts(b"from C")
    subprocess.run(["echo", "from a program"])
    print("no line end", end="")
    return 1

@env.task
async def facts() -> str:
    ctx = flyte.ctx()
    return " ".join([ctx.action.name, str(ctx.attempt_number), os.environ.get("ACTION_NAME", "-"), os.environ["GIVEN"]])

@env.task
def fails() -> int:
    raise ValueError("as asked")

@env.task
async def exits() -> int:
    sys.exit(3)

@env.task
async def crashes() -> int:
    print("last words", flush=True)
    os._exit(7)

@env.task
async def segfaults() -> int:
    os.write(2, b"about to\\n")
    ctypes.string_at(0)

@env.task
async def sleeps() -> int:
    print("sleeps", flush=True)
    await asyncio.sleep(60)

@env.task
def blocks() -> int:
    print("blocks", flush=True)
    time.sleep(60)

@env.task
async def waits() -> int:
    while not os.path.exists(os.environ["GIVEN"]):
        await asyncio.sleep(0.01)
    return 5
"""

_POLICY = {1: Reuse("one", most=1), 2: Reuse("two", most=1, concurrency=2)}


class Shared:
    """An executor whose attempts share processes, and what they leave."""

    def __init__(self, executor: ReusingExecutor, processes: ProcessExecutor, folder: Path) -> None:
        self.executor, self.processes, self.folder = executor, processes, folder

    def launch(self, name: str, task: str, reuse: Reuse, **env: str) -> Launch:
        words = hello.command(self.folder / name, self.folder / "code.tar.gz", task)
        module = words.index("hello")
        command = (*words[:module], "shared", *words[module + 1 :])
        at = command.index("--name")
        command = (*command[: at + 1], name, *command[at + 2 :])
        own = {"ACTION_NAME": name, "RUN_NAME": "r1", "FLYTE_ATTEMPT_NUMBER": "0"}
        given = {"GIVEN": str(self.folder / "given"), **hello.ENV, **own, **env}
        return Launch(name, command, given, grace=1.0, reuse=replace(reuse, own=frozenset(own)))

    async def start(self, name: str, task: str, reuse: Reuse, **env: str) -> None:
        await self.executor.submit(self.launch(name, task, reuse, **env))

    async def over(self, name: str) -> Observation:
        async with asyncio.timeout(30):
            async for _ in self.executor.logs(name, follow=True):
                pass
        seen = await self.executor.observe(name)
        assert seen is not None
        assert seen.presence in OVER
        return seen

    async def run(self, name: str, task: str, reuse: Reuse, **env: str) -> Observation:
        await self.start(name, task, reuse, **env)
        return await self.over(name)

    async def printed(self, name: str, text: str) -> str:
        said = ""
        async with asyncio.timeout(20):
            async for batch in self.executor.logs(name, follow=True):
                said += "".join(line.text for line in batch)
                if text in said:
                    return said
        raise AssertionError(f"{text!r} was never printed, only {said!r}")

    async def said(self, name: str, originator: Originator = Originator.USER) -> str:
        lines = [line async for batch in self.executor.logs(name, follow=False) for line in batch]
        return "".join(line.text for line in lines if line.originator is originator)

    def output(self, name: str) -> int | str:
        outputs = common_pb2.Outputs.FromString((self.folder / name / "out" / "outputs.pb").read_bytes())
        value = outputs.literals[0].value.scalar.primitive
        return value.integer or value.string_value

    async def worker_of(self, name: str) -> str:
        seen = await self.executor.observe(name)
        assert seen is not None
        return seen.notes[-1].removeprefix("in reusable worker ")

    async def workers(self) -> list[str]:
        return [name for name in await self.processes.names() if name.startswith("reuse.")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shared]:
    folder = tmp_path_factory.mktemp("reuse" + "-of-a-long-name" * 6)  # longer than the path of a socket may be
    with tarfile.open(folder / "code.tar.gz", "w:gz") as out:
        member = tarfile.TarInfo("shared.py")
        member.size = len(SOURCE)
        out.addfile(member, io.BytesIO(SOURCE.encode()))
    processes = ProcessExecutor(folder / "home")
    async with processes, ReusingExecutor(processes, folder / "home") as executor:
        yield Shared(executor, processes, folder)


async def test_one_process_serves_many(shared: Shared) -> None:
    seen = await shared.run("many.1", "pid", _POLICY[1])
    assert (seen.presence, seen.exit_code) == (Presence.EXITED, 0), await shared.said("many.1")
    assert seen.started_at is not None
    assert seen.ended_at is not None
    names = [f"many.{number}" for number in range(2, 7)]
    await asyncio.gather(*(shared.start(name, "pid", _POLICY[1]) for name in names))
    for name in names:
        assert (await shared.over(name)).exit_code == 0
    assert len({shared.output(name) for name in ("many.1", *names)}) == 1


async def test_alone_an_attempt_has_the_process_to_itself(shared: Shared) -> None:
    for number in range(2):
        name = f"alone.{number}"
        assert (await shared.run(name, "speaks", _POLICY[1])).exit_code == 0
        ours = [line for line in (await shared.said(name)).splitlines() if not line.startswith("[flyte]")]
        logged = [f"logged {name}"]
        assert [line for line in ours if line not in logged] == [
            f"python {name}", f"stderr {name}", f"raw {name}", "from C", "from a program", "no line end",
        ]  # fmt: skip
        system = (await shared.said(name, Originator.SYSTEM)).splitlines()
        assert system[0].startswith("started in reusable worker ")
        assert system[1:] == ["exit code 0"]


async def test_together_each_has_what_its_python_prints(shared: Shared) -> None:
    names = ("both.1", "both.2")
    await asyncio.gather(*(shared.start(name, "speaks", _POLICY[2]) for name in names))
    for name in names:
        assert (await shared.over(name)).exit_code == 0
        said = (await shared.said(name)).splitlines()
        assert [line for line in said if name in line and "logged" not in line] == [
            f"python {name}", f"stderr {name}", f"raw {name}",
        ]  # fmt: skip
        assert not any(other in line for line in said for other in names if other != name)
    worker = await shared.worker_of(names[0])
    assert await shared.worker_of(names[1]) == worker
    own = [line.text async for batch in shared.processes.logs(worker, follow=False) for line in batch]
    assert own.count("from a program\n") == 2


@pytest.mark.parametrize(("together", "variable"), [(1, "facts"), (2, "-")])
async def test_identity(shared: Shared, together: int, variable: str) -> None:
    for number in ("0", "2"):
        name = f"facts.{together}.{number}"
        await shared.run(name, "facts", _POLICY[together], FLYTE_ATTEMPT_NUMBER=number)
        said = str(shared.output(name)).split()
        assert said[:2] == [name, number]
        assert said[2].startswith(variable)


@pytest.mark.parametrize("together", [1, 2])
async def test_an_exception_is_its_attempts_own(shared: Shared, together: int) -> None:
    before, fails, after = (f"{what}.{together}" for what in ("before", "fails", "after"))
    await shared.run(before, "pid", _POLICY[together])
    seen = await shared.run(fails, "fails", _POLICY[together])
    assert seen.exit_code == 0
    error = execution_pb2.ErrorDocument.FromString((shared.folder / fails / "out" / "error.pb").read_bytes()).error
    assert (error.code, error.kind) == ("ValueError", execution_pb2.ContainerError.RECOVERABLE)
    assert "ValueError: as asked" in await shared.said(fails)
    await shared.run(after, "pid", _POLICY[together])
    assert shared.output(before) == shared.output(after)


async def test_a_task_that_is_not_there(shared: Shared) -> None:
    seen = await shared.run("nowhere", "nowhere", _POLICY[1])
    assert seen.exit_code == 1
    assert (shared.folder / "nowhere" / "out" / "error.pb").exists()
    assert "AttributeError" in await shared.said("nowhere")


@pytest.mark.parametrize("together", [1, 2])
@pytest.mark.parametrize(
    ("task", "code", "number", "says"),
    [("exits", 3, None, ""), ("crashes", 7, None, "last words"), ("segfaults", None, signal.SIGSEGV, "about to")],
)
async def test_what_ends_the_process_is_the_end_of_who_ran_alone(
    shared: Shared, together: int, task: str, code: int | None, number: int | None, says: str
) -> None:
    name = f"{task}.{together}"
    seen = await shared.run(name, task, _POLICY[together])
    assert (seen.presence, seen.exit_code, seen.signal) == (Presence.EXITED, code, number)
    if together == 1 or task == "crashes":  # what C prints is nobody's own when there are several
        assert says in seen.log_tail
    assert "of its worker" in await shared.said(name, Originator.SYSTEM)
    assert (await shared.run(f"{name}.next", "pid", _POLICY[together])).exit_code == 0


async def test_what_ends_the_process_loses_the_others(shared: Shared) -> None:
    await shared.start("victim", "sleeps", _POLICY[2])
    await shared.printed("victim", "sleeps")
    await shared.start("culprit", "crashes", _POLICY[2])
    assert (await shared.over("victim")).presence is Presence.LOST
    assert (await shared.over("culprit")).presence is Presence.LOST
    assert "lost: the worker" in await shared.said("victim", Originator.SYSTEM)


async def test_one_is_aborted_and_the_other_goes_on(shared: Shared, until: object) -> None:
    await shared.start("aborted", "sleeps", _POLICY[2])
    await shared.start("other", "waits", _POLICY[2])
    await shared.printed("aborted", "sleeps")
    before = await shared.workers()
    await shared.executor.release("aborted")
    assert await shared.executor.observe("aborted") is None
    assert "aborted" in await shared.said("aborted", Originator.SYSTEM)
    (shared.folder / "given").touch()
    assert (await shared.over("other")).exit_code == 0
    assert shared.output("other") == 5
    assert await shared.workers() == before


async def test_who_does_not_stop_takes_the_process_along(shared: Shared) -> None:
    await shared.start("blocks", "blocks", _POLICY[2])
    await shared.start("beside", "sleeps", _POLICY[2])
    await shared.printed("blocks", "blocks")
    await shared.printed("beside", "sleeps")
    await shared.executor.release("blocks")
    assert (await shared.over("beside")).presence is Presence.LOST


async def test_released_before_it_began(shared: Shared) -> None:
    await shared.start("first", "sleeps", _POLICY[1])
    await shared.printed("first", "sleeps")
    await shared.start("second", "sleeps", _POLICY[1])
    seen = await shared.executor.observe("second")
    assert seen is not None
    assert seen.presence is Presence.STARTING
    await shared.executor.release("second")
    await shared.executor.release("first")
    assert await shared.said("second") == ""


async def test_a_name_is_used_once(shared: Shared) -> None:
    launch = shared.launch("once", "pid", _POLICY[1])
    await asyncio.gather(*(shared.executor.submit(launch) for _ in range(3)))
    await shared.over("once")
    await shared.executor.submit(launch)
    assert "once" in await shared.executor.names()
    await shared.executor.release("once")
    assert "once" not in await shared.executor.names()
    with pytest.raises(LaunchRefused, match="used once"):
        await shared.executor.submit(launch)


async def test_workers_are_nobodys_attempts(shared: Shared) -> None:
    assert await shared.workers()
    assert not [name for name in await shared.executor.names() if name.startswith("reuse.")]


async def test_ends_when_idle(shared: Shared) -> None:
    policy = Reuse("idle", least=1, most=3, idle=0.6, scaledown=0.2)
    names = ("idle.1", "idle.2", "idle.3")
    await asyncio.gather(*(shared.start(name, "pid", policy) for name in names))
    for name in names:
        await shared.over(name)
    pids = [int(shared.output(name)) for name in names]
    workers = {await shared.worker_of(name) for name in names}
    async with asyncio.timeout(60):  # of a machine that has much else to do
        while workers & set(await shared.workers()):
            await asyncio.sleep(0.02)
    assert not any(tree.alive(pid) for pid in pids)


async def test_what_workers_hold_outlives_their_server(shared: Shared) -> None:
    """The next server finds what runs, what ended meanwhile, and what was never said."""
    home = shared.folder / "home"
    policy = Reuse("outlives", most=2, concurrency=2)
    async with ReusingExecutor(shared.processes, home) as executor:
        first = Shared(executor, shared.processes, shared.folder)
        given = str(shared.folder / "meanwhile")
        for name in ("held.1", "held.2"):
            await first.start(name, "sleeps", policy)
            await first.printed(name, "sleeps")
        await first.start("held.3", "waits", policy, GIVEN=given)
        await first.run("held.4", "pid", policy, GIVEN=given)
        assert (await first.run("held.5", "facts", policy, GIVEN=given)).exit_code == 0
        await executor.release("held.5")
    Path(given).touch()
    async with asyncio.timeout(10):
        while not (shared.folder / "held.3" / "out" / "outputs.pb").exists():
            await asyncio.sleep(0.01)
    async with ReusingExecutor(shared.processes, home) as executor:
        second = Shared(executor, shared.processes, shared.folder)
        held = [name for name in await executor.names() if name.startswith("held.")]
        assert sorted(held) == ["held.1", "held.2", "held.3", "held.4"]
        assert (await second.over("held.3")).exit_code == 0
        assert (await second.over("held.4")).exit_code == 0
        seen = await executor.observe("held.1")
        assert seen is not None
        assert (seen.presence, seen.started_at is not None) == (Presence.RUNNING, True)
        await executor.submit(first.launch("held.1", "sleeps", policy))  # a server that crashed may say it twice
        await executor.release("held.1")
        assert "aborted" in await second.said("held.1", Originator.SYSTEM)
        seen = await executor.observe("held.2")
        assert seen is not None
        assert seen.presence is Presence.RUNNING
        (worker,) = {await second.worker_of("held.2")}
        await shared.processes.release(worker)
        assert (await second.over("held.2")).presence is not Presence.RUNNING


async def test_begun_in_an_earlier_life_and_gone_with_it(shared: Shared) -> None:
    log = shared.folder / "home" / "shared" / "gone.log"
    log.write_bytes(b"2026-01-01T10:00:00.000000000Z system F started in reusable worker 1\n")
    async with ReusingExecutor(shared.processes, shared.folder / "home") as executor:
        other = Shared(executor, shared.processes, shared.folder)
        assert "gone" not in await executor.names()
        assert "lost: its worker is gone" in await other.said("gone", Originator.SYSTEM)
        await executor.submit(other.launch("gone", "pid", _POLICY[1]))
        seen = await executor.observe("gone")
        assert seen is not None
        assert seen.presence is Presence.LOST


async def test_a_worker_that_cannot_start(shared: Shared) -> None:
    seen = await shared.run("broken", "pid", Reuse("broken"), PYTHONHOME="/nowhere")
    assert seen.presence is Presence.EXITED
    assert seen.exit_code == 1
    assert "encodings" in seen.log_tail


async def test_others_pass_through(shared: Shared) -> None:
    await shared.executor.submit(Launch("plain", ("python", "-c", "print('plain')"), {}, reuse=_POLICY[1]))
    assert (await shared.over("plain")).exit_code == 0
    assert await shared.said("plain") == "plain\n"
