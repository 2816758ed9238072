"""What tasks ask of a machine, from the row to the launch: refused, waiting with a reason, admitted, counted again."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import pytest
from flyteidl2.core import literals_pb2, tasks_pb2
from flyteidl2.settings import settings_definition_pb2 as definition
from flyteidl2.task import task_definition_pb2

from alula.core.action import Attempt
from alula.core.ids import ROOT
from alula.core.launch import Amounts, Launch, MoreMemory
from alula.core.machine import Machine
from alula.core.phase import Phase
from alula.core.quantity import parse
from alula.core.route import Claim, Routes
from alula.core.scope import Scope
from alula.reconciler import admission
from alula.reconciler.admission import Admission, Rules
from alula.reconciler.hints import Hints
from alula.reconciler.places import Destinations
from alula.wire.taskactions import Destination
from tests.control.world import spec

from .ground import Process, succeed
from .server import Server

_R = tasks_pb2.Resources
_GIB = 1024**3
_MACHINE = Machine(cpu=4, memory=8 * _GIB, disk=100 * _GIB, gpus=("gpu-0", "gpu-1"))


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "_SOON", 0.02)


def asking(requests: Mapping[int, str], *, variables: Mapping[str, str] | None = None, retries: int = 0) -> bytes:
    """A task that asks for something."""
    message = task_definition_pb2.TaskSpec.FromString(spec(retries=retries))
    container = message.task_template.container
    for name, value in requests.items():
        container.resources.requests.add(name=name, value=value)
    container.env.extend(literals_pb2.KeyValuePair(key=k, value=v) for k, v in (variables or {}).items())
    return message.SerializeToString(deterministic=True)


def notes(attempt: Attempt) -> list[str]:
    return [note.text for note in attempt.notes]


async def forever(process: Process) -> None:
    process.run()
    await asyncio.Event().wait()


async def test_a_launch_says_what_it_may_use(server: Server) -> None:
    server.rules = Rules(_MACHINE)
    await server.start(spec=asking({_R.CPU: "500m", _R.MEMORY: "1Gi", _R.GPU: "2"}))
    async with server.at_work():
        assert (await server.end()).phase is Phase.SUCCEEDED
    (launch,) = server.ground.launches
    assert launch.resources.requests == Amounts(cpu=0.5, memory=_GIB, gpu=2)
    assert launch.resources.limits == Amounts(memory=_GIB)
    assert launch.devices == ("gpu-0", "gpu-1")


async def test_gpus_that_there_are_not_fail_the_task_at_once(server: Server) -> None:
    server.rules = Rules(_MACHINE)
    await server.start(spec=asking({_R.GPU: "3"}, retries=5))
    async with server.at_work():
        ended = await server.end()
    assert ended.phase is Phase.FAILED
    assert ended.failure is not None
    assert ended.failure.code == "ResourcesUnavailable"
    assert "asks for 3 GPUs, and this machine has 2" in ended.failure.message
    assert ended.attempt == 1
    assert server.ground.launches == []


async def test_what_is_no_amount_fails_the_task_and_names_it(server: Server) -> None:
    await server.start(spec=asking({_R.MEMORY: "plenty"}))
    async with server.at_work():
        ended = await server.end()
    assert ended.failure is not None
    assert ended.failure.code == "BadTaskSpecification"
    assert "container.resources.requests.MEMORY" in ended.failure.message


@pytest.mark.parametrize("strict", [False, True])
async def test_more_than_there_is(server: Server, *, strict: bool) -> None:
    server.rules = Rules(_MACHINE, strict=strict)
    await server.start(spec=asking({_R.CPU: "16", _R.MEMORY: "64Gi"}))
    async with server.at_work():
        ended = await server.end()
    (attempt,) = await server.story()
    if strict:
        assert ended.failure is not None
        assert ended.failure.code == "ResourcesUnavailable"
    else:
        assert ended.phase is Phase.SUCCEEDED
        assert notes(attempt) == [
            "asked for 64 GiB of memory, of 8 GiB that this machine has: it gets all there is, alone",
            "asked for 16 CPUs, of 4 that this machine has: it gets all there is, alone",
        ]


async def test_what_is_refused_after_it_was_told_something(server: Server) -> None:
    """The place was there, and more was asked for than there is; then its process cannot be."""
    server.rules = Rules(_MACHINE)
    server.ground.refusing.add(ROOT)
    await server.start(spec=asking({_R.CPU: "16"}))
    async with server.at_work():
        ended = await server.end()
        (attempt,) = await server.story()
        assert ended.failure is not None
        assert ended.failure.code == "NoSuchMachine"
        assert len(notes(attempt)) == 1
        await server.start("next")
        assert (await server.end(run="next")).phase is Phase.FAILED


async def test_a_checkpoint_survives_attempts_that_left_none(server: Server) -> None:
    async def play(process: Process) -> None:
        process.run()
        if process.attempt == 2:
            await process.write("_flytecheckpoints", b"half done")
        if process.attempt < 5:
            process.die()
        else:
            await succeed(process)

    server.ground.play = play
    message = task_definition_pb2.TaskSpec.FromString(spec())
    message.task_template.container.args[:] = ["a0", "--prev", "{{.prevCheckpointPrefix}}", "{{.outputPrefix}}"]
    await server.start(spec=message.SerializeToString())
    async with server.at_work():
        await server.end()
    prefixes = [launch.command[-1] for launch in server.ground.launches]
    found = [launch.command[-2] for launch in server.ground.launches]
    second = f"{prefixes[1]}/_flytecheckpoints"
    assert found == ["", f"{prefixes[0]}/_flytecheckpoints", second, second]


async def test_what_waits_says_what_for(server: Server) -> None:
    server.rules = Rules(_MACHINE)
    server.ground.play = forever
    await server.start("r0", spec=asking({_R.GPU: "2"}))
    async with server.at_work():
        await server.reached(Phase.RUNNING, run="r0")
        for run in ("r1", "r2", "r3"):
            await server.start(run, spec=asking({_R.GPU: "1"}))
            await server.reached(Phase.WAITING_FOR_RESOURCES, run=run)
        (attempt,) = await server.story(run="r3")
        assert notes(attempt) == ["waits for 1 GPU: 0 of 2 are free; 2 actions are before it"]
        before = [(await server.world.get(ROOT, run)).version for run in ("r1", "r2", "r3")]
        for _ in range(5):
            await asyncio.sleep(0.02)
        assert [(await server.world.get(ROOT, run)).version for run in ("r1", "r2", "r3")] == before, "told once"
        await server.world.actions.abort(server.world.id(ROOT, "r0"), "enough")
        for run in ("r1", "r2"):
            await server.reached(Phase.RUNNING, run=run)
    assert [launch.devices for launch in server.ground.launches[1:]] == [("gpu-0",), ("gpu-1",)]


async def test_what_waits_no_longer_than_a_moment_says_nothing(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "_SOON", 60.0)
    for n in range(20):
        await server.start(f"r{n}")
    async with server.at_work(capacity=1):
        for n in range(20):
            await server.end(run=f"r{n}")
    for n in range(20):
        (attempt,) = await server.story(run=f"r{n}")
        assert Phase.WAITING_FOR_RESOURCES not in [one.phase for one in attempt.transitions]


async def test_of_many_that_wait_few_are_written_down_at_once(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long line costs no storm of writes."""
    turns, tell = Counter[str](), Admission._tell

    def counted(self: Admission, hints: Hints) -> None:
        turns["tell"] += 1
        tell(self, hints)

    monkeypatch.setattr(admission, "_AT_ONCE", 3)
    monkeypatch.setattr(Admission, "_tell", counted)
    server.ground.play = forever
    names = [f"r{n:02}" for n in range(30)]
    for name in names:
        await server.start(name)
    async with server.at_work(capacity=1):
        await server.reached(Phase.WAITING_FOR_RESOURCES, run="r05")
        phases = [(await server.world.get(ROOT, name)).phase for name in names]
        assert 1 < phases.count(Phase.WAITING_FOR_RESOURCES) <= 3 * turns["tell"]
        assert phases[0] is Phase.RUNNING


async def test_parents_that_wait_are_no_reason_to_wait_for_ever(server: Server) -> None:
    """Every one of them asks for all there is, and keeps its memory while it waits."""
    everything = asking({_R.CPU: "4", _R.MEMORY: "8Gi", _R.GPU: "2"})

    async def play(process: Process) -> None:
        process.run()
        if len(process.action) < 4:
            await process.call(f"{process.action}x", f"{process.action}y", spec=everything)
        await succeed(process)

    server.rules = Rules(_MACHINE)
    server.ground.play = play
    await server.start(spec=everything)
    async with server.at_work(capacity=1):
        assert (await server.end()).phase is Phase.SUCCEEDED
        await server.ground.empty()
    (attempt,) = await server.story("a0xx")
    assert notes(attempt)[-1].startswith("all that runs waits for children: started though it needs 2 GPUs: 0 of 2")


async def test_what_an_earlier_server_gave_away_is_not_given_again(server: Server) -> None:
    server.rules = Rules(_MACHINE)
    server.ground.play = forever
    await server.start("r0", spec=asking({_R.GPU: "1", _R.MEMORY: "6Gi"}))
    async with server.at_work():
        await server.reached(Phase.RUNNING, run="r0")
    (launch,) = server.ground.launches
    server.ground.see(launch.name, devices=("gpu-1",))  # as its executor remembers it
    await server.start("r1", spec=asking({_R.GPU: "1"}))
    await server.start("r2", spec=asking({_R.MEMORY: "3Gi"}))
    async with server.at_work():
        await server.reached(Phase.RUNNING, run="r1")
        await server.reached(Phase.WAITING_FOR_RESOURCES, run="r2")
    assert [launch.devices for launch in server.ground.launches] == [("gpu-0",), ("gpu-0",)]


async def _oom(process: Process) -> None:
    """Needs 3 GiB of memory."""
    process.run()
    if process.launch.resources.limits.memory < 3 * _GIB:
        process.run_out_of_memory()
    else:
        await succeed(process)


@pytest.mark.parametrize(
    ("rule", "variable", "retries", "tries", "phase"),
    [
        (MoreMemory(), "", 0, [1], Phase.FAILED),
        (MoreMemory(), "", 1, [1, 1], Phase.FAILED),
        (MoreMemory(2), "", 0, [1, 2, 4], Phase.SUCCEEDED),
        (MoreMemory(1), "", 0, [1, 2], Phase.FAILED),
        (MoreMemory(1), "", 1, [1, 2, 2], Phase.FAILED),
        (MoreMemory(5, cap=2 * _GIB), "", 0, [1, 2], Phase.FAILED),
        (MoreMemory(), "times=3 factor=3", 0, [1, 3], Phase.SUCCEEDED),
        (MoreMemory(9), "times=0", 0, [1], Phase.FAILED),
    ],
)
async def test_who_runs_out_of_memory_gets_more(
    server: Server, rule: MoreMemory, variable: str, retries: int, tries: list[int], phase: Phase
) -> None:
    variables = {"ALULA_MORE_MEMORY": variable} if variable else {}
    server.rules = Rules(_MACHINE, more=rule)
    server.ground.play = _oom
    await server.start(spec=asking({_R.MEMORY: "1Gi"}, variables=variables, retries=retries))
    async with server.at_work():
        ended = await server.end()
    assert ended.phase is phase
    assert [launch.resources.limits.memory // _GIB for launch in server.ground.launches] == tries
    story = await server.story()
    assert [one.failure.code for one in story if one.failure is not None] == ["OOMKilled"] * (
        len(tries) - (phase is Phase.SUCCEEDED)
    )
    if len(set(tries)) > 1:
        assert notes(story[1]) == [f"1 GiB of memory did not suffice: attempt 2 gets {tries[1]} GiB"]
    assert ended.system_failures == 0


async def _oom_in_a_cluster(process: Process) -> None:
    process.run()
    if _memory_of(process.launch) < 4 * _GIB:
        process.run_out_of_memory()
    else:
        assert process.launch.request is not None
        await succeed(replace(process, launch=replace(process.launch, command=(process.launch.request.output_uri,))))


def _memory_of(launch: Launch) -> int:
    assert launch.request is not None, "it is sent to a cluster"
    said = tasks_pb2.TaskTemplate.FromString(launch.request.template).container.resources
    (request,), (limit,) = said.requests, said.limits or said.requests
    assert request.name == limit.name == _R.MEMORY
    return int(parse(limit.value))


async def test_a_pod_that_ran_out_of_memory_is_followed_by_one_with_more(server: Server) -> None:
    server.destinations = Destinations({}, {"east": Destination("east", {})}, Routes({"east": Claim(rest=True)}))
    server.rules = Rules(_MACHINE, more=MoreMemory(3, cap=4 * _GIB))
    server.ground.play = _oom_in_a_cluster
    await server.start(spec=asking({_R.MEMORY: "1Gi"}))
    async with server.at_work():
        assert (await server.end()).phase is Phase.SUCCEEDED
    assert [_memory_of(launch) // _GIB for launch in server.ground.launches] == [1, 2, 4]
    assert [len((await server.story())[number].notes) for number in (1, 2)] == [1, 1]


async def test_a_project_makes_limits_of_what_is_requested(server: Server) -> None:
    said = definition.Settings()
    said.task_resource.mirror_limits_request.state = definition.SETTING_STATE_VALUE
    said.task_resource.mirror_limits_request.bool_value = True
    await server.world.settings.create(Scope("development", "p"), said)
    await server.start(spec=asking({_R.CPU: "2"}))
    async with server.at_work():
        assert (await server.end()).phase is Phase.SUCCEEDED
    (launch,) = server.ground.launches
    assert launch.resources.limits == Amounts(cpu=2)
