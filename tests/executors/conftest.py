"""Executors for the tests, in both modes, and a way to run one attempt to its end."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from alula.core.launch import Launch, LogLine, Observation, Originator, Presence
from alula.executors.process.executor import ProcessExecutor

OVER = (Presence.EXITED, Presence.LOST)


class Bench:
    """An executor at work."""

    def __init__(self, executor: ProcessExecutor, home: Path, mode: str) -> None:
        self.executor, self.home, self.mode = executor, home, mode

    async def start(self, name: str, *command: str, grace: float = 5.0, **env: str) -> None:
        await self.executor.submit(Launch(name, command, env, grace=grace))

    async def python(self, name: str, code: str, *, grace: float = 5.0, **env: str) -> None:
        await self.start(name, "python", "-c", code, grace=grace, **env)

    async def over(self, name: str) -> Observation:
        """Follow the log to its end: that is when the attempt is over."""
        async for _ in self.executor.logs(name, follow=True):
            pass
        seen = await self.executor.observe(name)
        assert seen is not None
        assert seen.presence in OVER
        return seen

    async def lines(self, name: str) -> list[LogLine]:
        return [line async for batch in self.executor.logs(name, follow=True) for line in batch]

    async def said(self, name: str) -> str:
        return "".join(line.text for line in await self.lines(name) if line.originator is Originator.USER)

    async def printed(self, name: str, text: str) -> str:
        """Follow the log until ``text`` was printed; returns all that was printed by then."""
        said = ""
        async with asyncio.timeout(20):
            async for batch in self.executor.logs(name, follow=True):
                said += "".join(line.text for line in batch if line.originator is Originator.USER)
                if text in said:
                    return said
        raise AssertionError(f"{text!r} was never printed, only {said!r}")


@pytest.fixture(params=["fork", "spawn"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    home = tmp_path / "home"
    async with ProcessExecutor(home, mode=request.param) as executor:
        yield Bench(executor, home, request.param)


@pytest.fixture
async def until() -> Callable[[Callable[[], bool]], Awaitable[None]]:
    """Wait for what only the machine can show (a process that is gone), for at most 10 s."""

    async def wait(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.01)

    return wait
