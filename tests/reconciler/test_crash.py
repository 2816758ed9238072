"""A server that dies at any moment: before or after any call to the rows or the machine. Another one takes over.

Whatever the moment, everything ends as it would have, and no attempt was ever started twice.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from alula.core.action import Policy
from alula.core.ids import ROOT
from alula.core.phase import Phase
from tests.control.world import Wall, opened

from .ground import Ground, Play, Process, succeed
from .server import PATIENCE, Server, nothing

_CAPACITY = 2
_STREAMS = ("changes", "logs")

Story = list[tuple[Phase, str]]


class Death(BaseException):
    """The server is dead: nothing it has under way goes on."""


class Fuse:
    """Kills the server when ``moments`` calls have been entered or left."""

    def __init__(self, moments: int) -> None:
        self._left = moments

    @property
    def blown(self) -> bool:
        return self._left < 0

    def burn(self, where: str) -> None:
        self._left -= 1
        if self.blown:
            raise Death(where)


class Mortal:
    """Somebody's methods, called by a server that may die before or after each."""

    def __init__(self, whole: Any, fuse: Fuse) -> None:
        self._whole, self._fuse = whole, fuse

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._whole, name)
        if name in _STREAMS:
            return found

        async def call(*args: Any, **kwargs: Any) -> Any:
            self._fuse.burn(f"before {name}")
            try:
                return await found(*args, **kwargs)
            finally:
                self._fuse.burn(f"after {name}")

        return call


Finish = Callable[[Server, str], Coroutine[Any, Any, None]]


async def _die_and_go_on(server: Server, run: str, finish: Finish, *moments: int) -> bool:
    """One server after the other dies after so many moments, a last one finishes; whether the first did die."""
    finished = asyncio.create_task(finish(server, run))
    died = [await _die(server, Fuse(some), finished) for some in moments]
    async with server.at_work(_CAPACITY):
        await finished
    return died[0]


async def _die(server: Server, fuse: Fuse, finished: asyncio.Task[None]) -> bool:
    mortals = {"attempts": Mortal(server.world.attempts, fuse), "executor": Mortal(server.ground, fuse)}
    living = asyncio.create_task(server.reconciler(_CAPACITY, **mortals).run())
    done, _ = await asyncio.wait({living, finished}, return_when=asyncio.FIRST_COMPLETED, timeout=PATIENCE)
    assert done, "it lives and does nothing"
    if not fuse.blown:
        living.cancel()
        await asyncio.gather(living, return_exceptions=True)
        return False
    await asyncio.wait({living})
    await server.world.database.write(nothing)  # what it had handed over is done, as the next server would find it
    error = living.exception()
    assert isinstance(error, BaseExceptionGroup)
    assert error.split(Death)[1] is None, f"it died of something else: {error.split(Death)[1]!r}"
    return True


async def _at_every_moment(home: Path, play: Play, finish: Finish, expected: Mapping[str, Story]) -> None:
    """Die at the first moment, then at the second, and so on, until there are no more; each time also once again."""
    chance = random.Random(2)
    async with opened(home, Wall()) as world:
        moment, died = 0, True
        while died:
            run = f"r{moment}"
            server = Server(world, Ground(world, play))
            server.ground.refusing.add("refused")
            await server.start(run)
            died = await _die_and_go_on(server, run, finish, moment, chance.randrange(80))
            for name, story in expected.items():
                found = [(a.phase, a.failure.code if a.failure else "") for a in await server.story(name, run)]
                assert found == story, f"{name} after {moment} moments"
            assert set(server.ground.started.values()) == {1}, f"started twice after {moment} moments"
            assert await server.ground.names() == []
            await server.ground.close()
            moment += 1
    assert moment > 40, "the test has lost its moments"


async def _family(process: Process) -> None:
    """The root is killed once, after its children have ended; one of them fails once, and one can never start."""
    if process.action == ROOT:
        process.run()
        ends = await process.call("flaky", "refused", policy=Policy(retries=1))
        assert ends == {"flaky": Phase.SUCCEEDED, "refused": Phase.FAILED}
        if process.attempt == 1:
            process.die()
            return
    elif process.attempt == 1:
        process.exit(3)
        return
    await succeed(process)


async def _until_released(server: Server, run: str) -> None:
    await server.end(run=run)
    await server.ground.empty()


async def test_retries_and_refusals(tmp_path: Path) -> None:
    expected = {
        ROOT: [(Phase.FAILED, "Interrupted"), (Phase.SUCCEEDED, "")],
        "flaky": [(Phase.FAILED, "ContainerFailed"), (Phase.SUCCEEDED, "")],
        "refused": [(Phase.FAILED, "NoSuchMachine"), (Phase.FAILED, "NoSuchMachine")],
    }
    await _at_every_moment(tmp_path, _family, _until_released, expected)


async def _sleepers(process: Process) -> None:
    process.run()
    if process.action == ROOT:
        await process.call("x")
    elif process.action == "x":
        await process.call("y")
    await asyncio.Event().wait()


async def _abort_when_all_run(server: Server, run: str) -> None:
    await server.made("y", run)
    await server.reached(Phase.RUNNING, "y", run)
    await server.world.actions.abort(server.world.id(ROOT, run), "enough")
    await server.ground.empty()


async def test_aborts(tmp_path: Path) -> None:
    aborted = [(Phase.ABORTED, "")]
    await _at_every_moment(tmp_path, _sleepers, _abort_when_all_run, {ROOT: aborted, "x": aborted, "y": aborted})
