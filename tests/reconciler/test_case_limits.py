"""Case C32, of the limit that no process runs into: the time in the queue."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flyteidl2.task import task_definition_pb2

from alula.core.launch import Presence
from alula.core.phase import Phase
from alula.storage.address import Address
from tests.control.world import Wall, World, opened, spec

from .ground import Process
from .server import Server


@pytest.fixture
async def world(tmp_path: Path, address: Address) -> AsyncIterator[World]:
    """On both databases."""
    async with opened(tmp_path, Wall(), address) as world:
        yield world


async def test_what_waits_too_long_for_a_place_times_out(server: Server) -> None:
    async def play(process: Process) -> None:
        process.run()
        await asyncio.Event().wait()

    server.ground.play = play
    impatient = task_definition_pb2.TaskSpec.FromString(spec())
    impatient.task_template.metadata.timeouts.queued_timeout.FromMilliseconds(200)
    await server.start(run="first")
    async with server.at_work(capacity=1):
        await server.reached(Phase.RUNNING, run="first")
        await server.start(run="second", spec=impatient.SerializeToString())
        ended = await server.end(run="second")
        assert ended.phase is Phase.TIMED_OUT
        assert ended.failure is not None
        assert ended.failure.code == "QUEUED_TIMEOUT_EXCEEDED"
        (attempt,) = await server.story(run="second")
        assert (attempt.phase, attempt.failure) == (Phase.TIMED_OUT, ended.failure)
        assert attempt.end is not None
    assert [launch.env["RUN_NAME"] for launch in server.ground.launches] == ["first"]


async def test_what_began_within_a_second_that_a_cluster_tells_has_all_of_its_time(server: Server) -> None:
    async def play(process: Process) -> None:
        began = datetime.now(UTC) - timedelta(seconds=0.9)
        process.ground.see(process.launch.name, presence=Presence.RUNNING, started_at=began, cluster="east")
        await server.reached(Phase.RUNNING)
        await asyncio.sleep(0.2)  # time in which it would be ended
        await process.write("outputs.pb")
        process.exit()

    server.ground.play = play
    brief = task_definition_pb2.TaskSpec.FromString(spec())
    brief.task_template.metadata.timeout.FromMilliseconds(500)
    await server.start(spec=brief.SerializeToString())
    async with server.at_work():
        assert (await server.end()).phase is Phase.SUCCEEDED
