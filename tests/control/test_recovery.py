"""A run that recovers another takes over what succeeded there, and does the rest."""

from typing import Any

import pytest
from flyteidl2.common import run_pb2 as relation_pb2
from flyteidl2.task import run_pb2

from alula.core.action import Kind
from alula.core.errors import NotFound
from alula.core.ids import ROOT, RunId
from alula.core.phase import Phase
from alula.wire import actions as wire_actions

from .test_conditions import YES, condition
from .world import BASE, World, child, creation, no_chance


def recovering(source: str = "r", name: str = "again", *, force: tuple[str, ...] = (), **changes: Any) -> Any:
    spec = run_pb2.RunSpec(recover=run_pb2.Recover(force_rerun_actions=force))
    spec.relation.relation_type = relation_pb2.RELATION_TYPE_RECOVER
    origin = RunId("p", "development", source)
    return creation(name, run_spec=spec.SerializeToString(), recovers=origin, **changes)


async def _source(world: World) -> None:
    """A run whose root failed: x and a trace and a condition succeeded below it, y failed, z was aborted."""
    await world.start("x", "y", "z")
    run = world.id(ROOT).run
    trace = f"{BASE}/t/outputs.pb"
    await world.actions.enqueue(run, child("t", kind=Kind.TRACE, phase=Phase.SUCCEEDED, output_uri=trace, hosted=False))
    await world.actions.enqueue(run, child("bad", kind=Kind.TRACE, phase=Phase.FAILED, hosted=False))
    await world.actions.enqueue(run, condition("c"))
    await world.conditions.signal(world.id("c"), YES, "ann")
    await world.move("x", Phase.SUCCEEDED)
    await world.move("y", Phase.FAILED)
    await world.move(ROOT, Phase.FAILED)


async def test_what_succeeded_is_taken_over(world: World) -> None:
    await _source(world)
    root = await world.runs.create(recovering(), no_chance)
    assert root.phase is Phase.QUEUED, "the root always runs: its inputs may have changed"
    for name in ("x", "y", "z", "new"):
        await world.actions.enqueue(root.id.run, child(name))
    phases = await world.phases("x", "y", "z", "new", run="again")
    assert phases == [Phase.RECOVERED, Phase.QUEUED, Phase.QUEUED, Phase.QUEUED]
    source, taken = await world.get("x"), await world.get("x", "again")
    assert (taken.output_uri, taken.recovered_from) == (source.output_uri, "r")
    update = wire_actions.update_message(taken, "")
    assert (update.phase, update.output_uri) == (int(Phase.RECOVERED), source.output_uri)
    details = wire_actions.details_message(await world.actions.details(taken.id), "")
    assert (details.metadata.recovered_from.run.name, details.metadata.recovered_from.name) == ("r", "x")
    assert [a.outputs.output_uri for a in details.attempts] == [f"{source.output_uri}/outputs.pb"]
    assert details.status.phase == details.attempts[0].phase


async def test_its_traces_are_there_before_it_looks(world: World) -> None:
    """The SDK looks for finished traces before it calls; failed ones are called again."""
    await _source(world)
    await world.runs.create(recovering(), no_chance)
    trace = await world.get("t", "again")
    assert (trace.phase, trace.output_uri, trace.recovered_from) == (
        Phase.RECOVERED, f"{BASE}/t/outputs.pb", "r",
    )  # fmt: skip
    with pytest.raises(NotFound):
        await world.get("bad", "again")


async def test_a_condition_keeps_its_answer(world: World) -> None:
    await _source(world)
    root = await world.runs.create(recovering(), no_chance)
    await world.actions.enqueue(root.id.run, condition("c"))
    answered = await world.get("c", "again")
    assert (answered.phase, answered.value, answered.by) == (Phase.RECOVERED, YES, "ann")
    assert wire_actions.update_message(answered, "").value.scalar.primitive.boolean is True


async def test_what_is_forced_runs_again(world: World) -> None:
    """Conditions pause again; names that nobody knows are ignored."""
    await _source(world)
    root = await world.runs.create(recovering(force=("x", "c", "t", "nothing")), no_chance)
    await world.actions.enqueue(root.id.run, child("x"))
    await world.actions.enqueue(root.id.run, condition("c"))
    assert await world.phases("x", "c", run="again") == [Phase.QUEUED, Phase.PAUSED]
    with pytest.raises(NotFound):
        await world.get("t", "again")


async def test_a_recovery_is_recovered(world: World) -> None:
    await _source(world)
    first = await world.runs.create(recovering(), no_chance)
    await world.actions.enqueue(first.id.run, child("x"))
    second = await world.runs.create(recovering("again", "once-more"), no_chance)
    await world.actions.enqueue(second.id.run, child("x"))
    taken = await world.get("x", "once-more")
    assert (taken.phase, taken.recovered_from) == (Phase.RECOVERED, "again")
    assert taken.output_uri == (await world.get("x")).output_uri
    assert (await world.get("t", "once-more")).phase is Phase.RECOVERED


async def test_a_trace_is_no_task(world: World) -> None:
    """A name alone is not enough."""
    await _source(world)
    root = await world.runs.create(recovering(force=("t",)), no_chance)
    await world.actions.enqueue(root.id.run, child("t"))
    assert (await world.get("t", "again")).phase is Phase.QUEUED


async def test_nothing_to_recover_from(world: World) -> None:
    with pytest.raises(NotFound, match=r"related_to: run p/development/r does not exist"):
        await world.runs.create(recovering(), no_chance)
    with pytest.raises(NotFound):
        await world.get(ROOT, "again")
