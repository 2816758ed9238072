"""Conditions: answered once, by whoever is first, with what was asked for."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from flyteidl2.core import literals_pb2, types_pb2
from flyteidl2.task import common_pb2
from flyteidl2.workflow import run_definition_pb2, run_service_pb2

from alula.core.action import Kind, NewAction, TaskRef
from alula.core.errors import Conflict, Invalid, NotFound
from alula.core.phase import Phase
from alula.wire import actions as wire_actions
from alula.wire.conditions import answer, parsed

from .world import World, child

Payload = run_service_pb2.EventPayload


def condition(name: str = "c", kind: int = types_pb2.BOOLEAN) -> NewAction:
    named = types_pb2.SimpleType.Name(kind)
    asked = run_definition_pb2.ConditionAction(name="approve", prompt="ok?", type=types_pb2.LiteralType(simple=named))
    reference = TaskRef(name="approve", type=named)
    paused = replace(child(name), kind=Kind.CONDITION, phase=Phase.PAUSED, task=reference, output_uri="")
    return replace(paused, spec=asked.SerializeToString())


YES = answer(Payload(bool_value=True))
NO = answer(Payload(bool_value=False))


@pytest.fixture
async def paused(world: World) -> World:
    root = await world.start()
    await world.actions.enqueue(root.id.run, condition())
    return world


async def test_a_condition_waits_paused(paused: World) -> None:
    found = await paused.get("c")
    assert (found.phase, found.attempt, found.ended_at) == (Phase.PAUSED, 1, None)
    details = await paused.actions.details(found.id)
    assert [a.phase for a in details.attempts] == [Phase.PAUSED]
    message = wire_actions.details_message(details, "")
    assert message.condition.prompt == "ok?"
    assert (message.metadata.condition.name, message.metadata.condition.type.simple) == ("approve", types_pb2.BOOLEAN)


async def test_its_answer_is_its_value(paused: World) -> None:
    """Case C14: the value can be read like outputs; case C6: the last message tells of an ended attempt."""
    await paused.conditions.signal(paused.id("c"), YES, "ann")
    found = await paused.get("c")
    assert (found.phase, found.by) == (Phase.SUCCEEDED, "ann")
    outputs = common_pb2.Outputs.FromString(await paused.blobs.get(f"{found.output_uri}/outputs.pb"))
    assert outputs.literals[0].value.scalar.primitive.boolean is True
    update = wire_actions.update_message(found, "")
    assert (update.value.scalar.primitive.boolean, update.output_uri) == (True, "")
    details = wire_actions.details_message(await paused.actions.details(found.id), "")
    assert details.signal_info.output.scalar.primitive.boolean is True
    assert details.signal_info.signalled_by.user.id.subject == "ann"
    assert details.attempts[-1].phase == details.status.phase == int(Phase.SUCCEEDED)


async def test_the_same_answer_again_is_fine_and_another_is_not(paused: World) -> None:
    """Case C17."""
    await paused.conditions.signal(paused.id("c"), YES, "ann")
    before = await paused.get("c")
    await paused.conditions.signal(paused.id("c"), YES, "bob")
    with pytest.raises(Conflict, match="answered otherwise"):
        await paused.conditions.signal(paused.id("c"), NO, "bob")
    assert await paused.get("c") == before


async def test_of_two_answers_at_once_one_counts(paused: World) -> None:
    """Case C17: concurrent double signal with different values: exactly one wins, and its value is what is read."""
    outcomes = await asyncio.gather(
        *(paused.conditions.signal(paused.id("c"), value, "x") for value in (YES, NO) * 5), return_exceptions=True
    )
    found = await paused.get("c")
    won = [value for value, outcome in zip((YES, NO) * 5, outcomes, strict=True) if outcome is None]
    assert set(won) == {found.value}
    assert len(won) == 5
    assert all(isinstance(outcome, Conflict) for outcome in outcomes if outcome is not None)
    outputs = common_pb2.Outputs.FromString(await paused.blobs.get(f"{found.output_uri}/outputs.pb"))
    assert outputs.literals[0].value == literals_pb2.Literal.FromString(found.value)


TYPES: dict[int, Payload] = {
    types_pb2.BOOLEAN: Payload(bool_value=False),
    types_pb2.INTEGER: Payload(int_value=0),
    types_pb2.FLOAT: Payload(float_value=0.0),
    types_pb2.STRING: Payload(string_value=""),
}


@pytest.mark.parametrize("asked", TYPES)
@pytest.mark.parametrize("given", TYPES)
async def test_only_the_type_that_was_asked_for(world: World, asked: int, given: int) -> None:
    """Case C17. Falsy values are values."""
    root = await world.start()
    await world.actions.enqueue(root.id.run, condition(kind=asked))
    if asked == given:
        await world.conditions.signal(world.id("c"), answer(TYPES[given]), "")
        assert (await world.get("c")).phase is Phase.SUCCEEDED
    else:
        with pytest.raises(Invalid, match="value: the condition asks for"):
            await world.conditions.signal(world.id("c"), answer(TYPES[given]), "")
        assert (await world.get("c")).phase is Phase.PAUSED


async def test_what_is_no_waiting_condition(paused: World) -> None:
    """Case C17."""
    with pytest.raises(NotFound):
        await paused.conditions.signal(paused.id("nothing"), YES, "")
    with pytest.raises(Conflict, match="no condition"):
        await paused.conditions.signal(paused.id("a0"), YES, "")
    await paused.actions.abort(paused.id("c"), "not needed", "eve")
    with pytest.raises(Conflict, match="ABORTED"):
        await paused.conditions.signal(paused.id("c"), YES, "")
    details = wire_actions.details_message(await paused.actions.details(paused.id("c")), "")
    assert (details.abort_info.reason, details.abort_info.aborted_by.user.id.subject) == ("not needed", "eve")


async def test_asked_twice_is_asked_once(paused: World) -> None:
    """Case C16; also once it is answered, as a parent's new attempt asks again."""
    await paused.actions.enqueue(paused.id("c").run, condition())
    await paused.conditions.signal(paused.id("c"), YES, "")
    await paused.actions.enqueue(paused.id("c").run, condition())
    assert (await paused.get("c")).value == YES


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (types_pb2.BOOLEAN, 1),
        (types_pb2.BOOLEAN, "true"),
        (types_pb2.INTEGER, True),
        (types_pb2.INTEGER, 1.5),
        (types_pb2.INTEGER, 2**63),
        (types_pb2.FLOAT, "1"),
        (types_pb2.FLOAT, False),
        (types_pb2.STRING, 1),
        (types_pb2.STRING, None),
    ],
)
def test_json_that_is_no_answer(kind: int, value: Any) -> None:
    with pytest.raises(Invalid, match="value: "):
        parsed(condition(kind=kind).spec, value)


@pytest.mark.parametrize(
    ("kind", "value", "payload"),
    [
        (types_pb2.BOOLEAN, False, Payload(bool_value=False)),
        (types_pb2.INTEGER, -(2**63), Payload(int_value=-(2**63))),
        (types_pb2.FLOAT, 3, Payload(float_value=3.0)),
        (types_pb2.STRING, "☃", Payload(string_value="☃")),
    ],
)
def test_json_that_is_an_answer(kind: int, value: Any, payload: Any) -> None:
    assert parsed(condition(kind=kind).spec, value) == answer(payload)
