"""Executors for the tests, in both modes, and a way to run one attempt to its end."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import pytest_asyncio

from alula.core.launch import Launch, LogLine, Observation, Originator, Presence
from alula.executors.base import Executor
from alula.executors.process.executor import ProcessExecutor
from alula.executors.process.reuse.executor import ReusingExecutor

OVER = (Presence.EXITED, Presence.LOST)


class Bench:
    """An executor at work. Names are a test's own: ``suffix`` tells them from those of other tests."""

    def __init__(self, executor: Executor, home: Path, mode: str, suffix: str = "") -> None:
        self.executor, self.home, self.mode, self.suffix = executor, home, mode, suffix

    async def submit(self, launch: Launch) -> None:
        await self.executor.submit(replace(launch, name=launch.name + self.suffix))

    async def start(self, name: str, *command: str, grace: float = 5.0, **env: str) -> None:
        await self.submit(Launch(name, command, env, grace=grace))

    async def python(self, name: str, code: str, *, grace: float = 5.0, **env: str) -> None:
        await self.start(name, "python", "-c", code, grace=grace, **env)

    async def observe(self, name: str) -> Observation | None:
        return await self.executor.observe(name + self.suffix)

    async def release(self, name: str) -> None:
        await self.executor.release(name + self.suffix)

    async def names(self) -> list[str]:
        names = await self.executor.names()
        return [name.removesuffix(self.suffix) for name in names if name.endswith(self.suffix)]

    def logs(self, name: str, *, follow: bool) -> AsyncIterator[list[LogLine]]:
        return self.executor.logs(name + self.suffix, follow=follow)

    async def over(self, name: str) -> Observation:
        """Follow the log to its end: that is when the attempt is over."""
        async for _ in self.logs(name, follow=True):
            pass
        seen = await self.observe(name)
        assert seen is not None
        assert seen.presence in OVER
        return seen

    async def lines(self, name: str) -> list[LogLine]:
        return [line async for batch in self.logs(name, follow=True) for line in batch]

    async def said(self, name: str) -> str:
        return "".join(line.text for line in await self.lines(name) if line.originator is Originator.USER)

    async def printed(self, name: str, text: str) -> str:
        """Follow the log until ``text`` was printed; returns all that was printed by then."""
        said = ""
        async with asyncio.timeout(20):
            async for batch in self.logs(name, follow=True):
                said += "".join(line.text for line in batch if line.originator is Originator.USER)
                if text in said:
                    return said
        raise AssertionError(f"{text!r} was never printed, only {said!r}")


@pytest.fixture(params=["fork", "spawn"])
async def lone(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    """An executor for one test, which may break it."""
    home = tmp_path / "home"
    async with ProcessExecutor(home, mode=request.param) as executor:
        yield Bench(executor, home, request.param)


@pytest_asyncio.fixture(params=["fork", "spawn"], scope="module", loop_scope="module")
async def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    """An executor for all tests of a module. ``through``: one of attempts that share processes, which pass it on."""
    home = tmp_path_factory.mktemp("shared") / "home"
    mode: Literal["fork", "spawn"] = "spawn" if request.param == "spawn" else "fork"
    async with ProcessExecutor(home, mode=mode) as processes:
        if request.param != "through":
            yield Bench(processes, home, mode)
            return
        async with ReusingExecutor(processes, home) as reusing:
            yield Bench(reusing, home, mode)


_numbers = itertools.count(1)


@pytest.fixture
def bench(shared: Bench) -> Bench:
    """The module's executor, with names of the test's own."""
    return Bench(shared.executor, shared.home, shared.mode, f".{next(_numbers)}")


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], Awaitable[None]]:
    """Wait for what only the machine can show (a process that is gone), for at most 10 s."""

    async def wait(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.01)

    return wait
