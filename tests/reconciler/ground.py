"""A machine, simulated: it keeps the promise of `Executor`, outlives every reconciler, and counts what it started."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from flyteidl2.core import execution_pb2

from alula.core.errors import LaunchRefused
from alula.core.launch import Launch, LogLine, Observation, Presence
from alula.core.phase import Phase
from tests.control.world import World, child


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Process:
    """One attempt, as the code that it runs sees itself."""

    ground: "Ground"
    launch: Launch

    @property
    def action(self) -> str:
        return self.launch.env["ACTION_NAME"]

    @property
    def attempt(self) -> int:
        return int(self.launch.env["FLYTE_ATTEMPT_NUMBER"]) + 1

    def run(self) -> None:
        self.ground.see(self.launch.name, presence=Presence.RUNNING, started_at=_now())

    def exit(self, code: int = 0) -> None:
        self.ground.see(self.launch.name, presence=Presence.EXITED, exit_code=code, ended_at=_now())

    def die(self, signal: int = 9) -> None:
        self.ground.see(self.launch.name, presence=Presence.EXITED, signal=signal, ended_at=_now())

    def run_out_of_memory(self) -> None:
        self.ground.see(self.launch.name, presence=Presence.EXITED, signal=9, out_of_memory=True, ended_at=_now())

    def vanish(self) -> None:
        self.ground.see(self.launch.name, presence=Presence.LOST)

    async def write(self, name: str, body: bytes = b"") -> None:
        prefix = self.launch.command[-1]
        await self.ground.world.blobs.put(f"{prefix}/{name}", body)

    async def error(self, code: str, *, recoverable: bool = True) -> None:
        document = execution_pb2.ErrorDocument()
        document.error.code, document.error.message = code, f"attempt {self.attempt}"
        kinds = execution_pb2.ContainerError
        document.error.kind = kinds.RECOVERABLE if recoverable else kinds.NON_RECOVERABLE
        await self.write("error.pb", document.SerializeToString())

    async def call(self, *names: str, **changes: object) -> dict[str, Phase]:
        """Ask for children, who are as ``changes`` say, and wait until all of them have ended; how they did."""
        run = self.ground.world.id(self.action, self.launch.env["RUN_NAME"])
        for name in names:
            await self.ground.world.actions.enqueue(run.run, child(name, self.action, **changes))
        ended: dict[str, Phase] = {}
        async for batch in self.ground.world.actions.watch_children(run):
            ended |= {a.id.name: a.phase for a in batch or [] if a.phase.terminal and a.id.name in names}
            if len(ended) == len(names):
                return ended
        raise AssertionError("the watch ended")


Play = Callable[[Process], Awaitable[None]]


async def succeed(process: Process) -> None:
    """What most processes do."""
    process.run()
    await process.write("outputs.pb")
    process.exit()


class Ground:
    """Starts what it is told to, once for a name; ``play`` is the code that everything runs."""

    def __init__(self, world: World, play: Play) -> None:
        self.world = world
        self.play = play
        self.started: Counter[str] = Counter()
        self.launches: list[Launch] = []
        self.patience = 0.0  # of the conditions that a play asks
        self.most = 0  # processes that were running at once
        self.refusing: set[str] = set()
        self.broken: list[Exception] = []
        self._seen: dict[str, Observation] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._listeners: set[asyncio.Queue[str]] = set()
        self._changed = asyncio.Condition()

    async def submit(self, launch: Launch) -> None:
        await asyncio.sleep(0)
        if launch.env.get("ACTION_NAME") in self.refusing:
            raise LaunchRefused("no such machine", code="NoSuchMachine")
        if launch.name in self._seen:
            return
        self.started[launch.name] += 1
        self.launches.append(launch)
        self._seen[launch.name] = Observation(Presence.STARTING)
        self._tasks[launch.name] = asyncio.create_task(self._live(Process(self, launch)))

    async def _live(self, process: Process) -> None:
        await asyncio.sleep(0)
        try:
            await self.play(process)
        except Exception as error:  # the play is wrong, not the reconciler: end it, and tell in the end
            self.broken.append(error)
            process.exit(1)

    def see(self, name: str, **changes: object) -> None:
        """An attempt is seen differently from now on."""
        if name not in self._seen:
            return
        self._seen[name] = replace(self._seen[name], **changes)  # type: ignore[arg-type]
        self.most = max(self.most, self.running())
        for listener in self._listeners:
            listener.put_nowait(name)

    def running(self) -> int:
        return sum(seen.presence is Presence.RUNNING for seen in self._seen.values())

    async def forget_log(self, name: str) -> bool:
        return False

    async def observe(self, name: str) -> Observation | None:
        await asyncio.sleep(0)
        return self._seen.get(name)

    async def release(self, name: str) -> None:
        await asyncio.sleep(0)
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        async with self._changed:
            self._seen.pop(name, None)
            self._changed.notify_all()

    async def logs(self, name: str, *, follow: bool) -> AsyncIterator[list[LogLine]]:
        for batch in list[list[LogLine]]():
            yield batch

    async def changes(self) -> AsyncIterator[str]:
        listener: asyncio.Queue[str] = asyncio.Queue()
        self._listeners.add(listener)
        try:
            while True:
                yield await listener.get()
        finally:
            self._listeners.discard(listener)

    async def names(self) -> list[str]:
        await asyncio.sleep(0)
        return list(self._seen)

    async def empty(self) -> None:
        """Wait until everything has been released."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._seen)

    async def close(self) -> None:
        for name in list(self._tasks):
            await self.release(name)
        if self.broken:
            raise ExceptionGroup("a play went wrong", self.broken)
