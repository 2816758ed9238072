"""Logs that another replica keeps in a home of its own."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from alula.control import logs as module
from alula.control.logs import Logs
from alula.core.errors import NotFound
from alula.core.ids import ROOT
from alula.core.launch import LogLine
from alula.core.naming import attempt_name
from alula.core.phase import Phase

from .world import World, creation, no_chance, spec

LINE = LogLine(datetime(2026, 1, 1, tzinfo=UTC), "said\n")


class Elsewhere:
    """A log that is found from the ``found``-th look on."""

    def __init__(self, found: int) -> None:
        self.looks: asyncio.Queue[str] = asyncio.Queue()
        self._found = found

    async def logs(self, name: str, *, follow: bool) -> AsyncIterator[list[LogLine]]:
        self.looks.put_nowait(name)
        self._found -= 1
        if self._found > 0:
            raise NotFound("it is elsewhere")
        yield [LINE]


async def begun(world: World) -> None:
    await world.runs.create(creation(spec=spec()), no_chance)
    await world.move(ROOT, Phase.RUNNING)


async def said(world: World, kept: Elsewhere) -> list[LogLine]:
    return [line async for lines in Logs(world.actions, kept).tail(world.id(ROOT), 1) for line in lines]


async def test_it_is_told_when_the_attempt_has_ended(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """And archived a little later."""
    monkeypatch.setattr(module, "_PAUSE", 0.0)
    await begun(world)
    kept = Elsewhere(found=4)
    reading = asyncio.create_task(said(world, kept))
    assert await kept.looks.get() == attempt_name(world.id(ROOT), 1)
    assert kept.looks.empty()
    await world.move(ROOT, Phase.SUCCEEDED)
    assert await reading == [LINE]
    assert kept.looks.qsize() == 3


async def test_one_that_is_lost_is_not_waited_for_for_ever(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAUSE", 0.0)
    await begun(world)
    await world.move(ROOT, Phase.SUCCEEDED)
    with pytest.raises(NotFound, match="elsewhere"):
        await said(world, Elsewhere(found=1000))
