"""Creating runs: the same request is the same run, another one is refused, and a bad one leaves nothing behind."""

import asyncio
import secrets
from typing import Any

import pytest
from flyteidl2.task import run_pb2, task_definition_pb2, task_service_pb2

from alula.core.errors import AlreadyExists, Invalid, NotFound
from alula.core.ids import ROOT, RunId, TaskId
from alula.core.naming import check_run_name
from alula.core.pages import Order, Page
from alula.core.phase import Phase
from alula.core.run import RunScope
from alula.storage.database import Tx

from .world import World, creation, no_chance, spec

_UUID = "6f1c3c4e-94a8-4c39-8d7e-0d1e5a6f7b80"


async def _runs(world: World) -> list[str]:
    page, _ = await world.runs.page(RunScope(), Page(limit=200, order=(Order("name", descending=False),)))
    return [root.id.run.name for root in page]


async def test_a_run_and_its_root(world: World) -> None:
    body = spec(retries=3, outputs=True)
    root = await world.runs.create(creation("r1", spec=body, inputs=b"", org="o"), no_chance)
    assert (root.id.run, root.id.name, root.parent) == (RunId("p", "development", "r1"), ROOT, None)
    assert (root.phase, root.attempt, root.version, root.org) == (Phase.QUEUED, 1, 0, "o")
    assert (root.base_uri, root.output_uri) == (
        "s3://alula/runs/p/development/r1",
        "s3://alula/runs/p/development/r1/a0/1",
    )
    assert (root.policy.retries, root.policy.outputs) == (3, True)
    assert (root.task.name, root.task.version, root.task.short_name) == ("t.main", "v1", "main")
    assert await world.blobs.get(root.input_uri) == b""
    details = await world.actions.details(root.id)
    assert details.spec == body
    assert [(a.number, a.phase) for a in details.attempts] == [(1, Phase.QUEUED)]
    run = await world.runs.get(root.id.run)
    assert run.starts_at == run.created_at
    assert [a.id for a in await world.attempts.queue()] == [root.id]


async def test_the_same_request_is_the_same_run(world: World) -> None:
    """Case C2."""
    asked = creation("r1", inputs=b"\x0a\x03\x0a\x01x", run_spec=b"\x08\x01")
    first = await world.runs.create(asked, no_chance)
    assert await world.runs.create(asked, no_chance) == first
    assert await asyncio.gather(*(world.runs.create(asked, no_chance) for _ in range(20))) == [first] * 20
    await world.move(ROOT, Phase.SUCCEEDED, run="r1")
    assert (await world.runs.create(asked, no_chance)).phase is Phase.SUCCEEDED, "it is not started again"
    assert await _runs(world) == ["r1"]


async def test_a_race_makes_one_run(world: World) -> None:
    made = await asyncio.gather(*(world.runs.create(creation("r1"), no_chance) for _ in range(50)))
    assert len({root.run_key for root in made}) == 1
    assert await _runs(world) == ["r1"]


async def test_a_race_of_two_different_runs_for_a_name(world: World) -> None:
    """Case C2."""
    asked = [creation("r1", spec=spec(f"t{n % 2}")) for n in range(20)]
    made = await asyncio.gather(*(world.runs.create(a, no_chance) for a in asked), return_exceptions=True)
    assert sorted(type(m).__name__ for m in made) == ["Action"] * 10 + ["AlreadyExists"] * 10


@pytest.mark.parametrize(
    "changes",
    [
        {"spec": spec("other")},
        {"inputs": b"\x0a\x03\x0a\x01x"},
        {"input_uri": "s3://alula/in"},
        {"run_spec": b"\x08\x01"},
    ],
)
async def test_another_request_for_a_name_is_refused(world: World, changes: dict[str, Any]) -> None:
    """Case C2."""
    first = await world.runs.create(creation("r1"), no_chance)
    with pytest.raises(AlreadyExists, match="choose another name"):
        await world.runs.create(creation("r1", **changes), no_chance)
    assert await world.get(ROOT, "r1") == first


async def test_names_are_of_a_project_and_domain(world: World) -> None:
    """Case C18."""
    here = await world.runs.create(creation("r1"), no_chance)
    there = await world.runs.create(creation("r1", domain="staging", spec=spec("other")), no_chance)
    assert here.run_key != there.run_key


@pytest.mark.parametrize("request_id", [_UUID, _UUID.upper(), "urn:uuid:" + _UUID])
async def test_a_request_sent_again_finds_its_run(world: World, request_id: str) -> None:
    first = await world.runs.create(creation("", request=request_id), no_chance)
    check_run_name(first.id.run.name)
    assert await world.runs.create(creation("", request=request_id), no_chance) == first
    assert len(await _runs(world)) == 1


@pytest.mark.parametrize("request_id", ["", "1", "req-7", "x" * 36, _UUID + "0"])
async def test_ids_that_are_no_uuid_tell_nothing(world: World, request_id: str) -> None:
    asked = creation("", request=request_id)
    names = {(await world.runs.create(asked, secrets.token_bytes)).id.run.name for _ in range(3)}
    assert len(names) == 3


def _in(base: str) -> bytes:
    """A RunSpec that says where the run's data goes."""
    return run_pb2.RunSpec(run_base_dir=base).SerializeToString()


@pytest.mark.parametrize("changes", [{"spec": spec("other")}, {"run_spec": b"\x08\x01"}, {"domain": "staging"}])
async def test_one_id_for_two_requests_is_two_runs(world: World, changes: dict[str, Any]) -> None:
    first = await world.runs.create(creation("", request=_UUID), no_chance)
    second = await world.runs.create(creation("", request=_UUID, **changes), no_chance)
    assert first.id.run.name != second.id.run.name


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"name": "Not A Name"}, Invalid),
        ({"name": "x" * 31}, Invalid),
        ({"project": "missing"}, NotFound),
        ({"domain": "missing"}, NotFound),
        ({"task": TaskId("p", "development", "t", "v"), "spec": b""}, NotFound),
        ({"run_spec": _in("s3://elsewhere/runs")}, Invalid),
        ({"run_spec": _in("file:///tmp")}, Invalid),
        ({"run_spec": _in("s3://alula/../x")}, Invalid),
    ],
)
async def test_what_cannot_be_leaves_nothing(world: World, changes: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        await world.runs.create(creation(**{"name": "r1", **changes}), no_chance)
    assert await _runs(world) == []
    assert await world.attempts.queue() == []
    assert [uri async for uri, _ in world.blobs.list("s3://alula/")] == []


async def test_a_base_dir_of_ones_own(world: World) -> None:
    root = await world.runs.create(creation("r1", run_spec=_in("s3://alula/mine")), no_chance)
    assert root.output_uri == "s3://alula/mine/p/development/r1/a0/1"


@pytest.mark.parametrize(
    ("told", "used"),
    [
        ("s3://alula/in", "s3://alula/in/inputs.pb"),
        ("s3://alula/in/", "s3://alula/in/inputs.pb"),
        ("s3://alula/in/x.pb", "s3://alula/in/x.pb"),
    ],
)
async def test_offloaded_inputs(world: World, told: str, used: str) -> None:
    root = await world.runs.create(creation("r1", input_uri=told), no_chance)
    assert root.input_uri == used


async def test_a_deployed_task(world: World) -> None:
    message = task_service_pb2.DeployTaskRequest(spec=task_definition_pb2.TaskSpec.FromString(spec("deployed")))
    task = message.task_id
    task.project, task.domain, task.name, task.version = "p", "development", "deployed", "v9"
    await world.tasks.deploy(message)
    asked = creation("r1", task=TaskId("p", "development", "deployed", "v9"), spec=b"")
    root = await world.runs.create(asked, no_chance)
    assert root.task.name == "deployed"
    assert (await world.actions.details(root.id)).spec == spec("deployed")


async def test_a_missing_run(world: World) -> None:
    with pytest.raises(NotFound, match="p/development/r1"):
        await world.runs.get(RunId("p", "development", "r1"))


async def test_watching_runs(world: World) -> None:
    """What there is, then what is created or changes; other scopes and children are none of it."""
    await world.start("child", run="old")
    watch = world.runs.watch(RunScope(project="p", domain="development"))
    assert [root.id.run.name for root in await anext(watch)] == ["old"]
    await world.runs.create(creation("elsewhere", domain="staging"), no_chance)
    await world.move("child", Phase.RUNNING, run="old")
    await world.runs.create(creation("new"), no_chance)
    told = await anext(watch)
    assert [(root.id.run.name, root.phase) for root in told] == [("new", Phase.QUEUED)]
    await world.move(ROOT, Phase.SUCCEEDED, run="old")
    assert [(root.id.run.name, root.phase) for root in await anext(watch)] == [("old", Phase.SUCCEEDED)]
    await watch.aclose()  # type: ignore[attr-defined]
    assert not world.changes._watches


async def test_a_created_run_is_whole_in_every_read(world: World) -> None:
    """Whoever sees the run sees its root."""
    creating = asyncio.gather(*(world.runs.create(creation(f"r{n}"), no_chance) for n in range(40)))
    while not creating.done():

        async def count(tx: Tx) -> tuple[int, int]:
            found = await tx.one("SELECT (SELECT count(*) FROM runs), (SELECT count(*) FROM actions)")
            assert found is not None
            return found[0], found[1]

        there, roots = await world.database.read(count)
        assert there == roots
        await asyncio.sleep(0)
    await creating
