"""The state that an engine elsewhere keeps of an action, on both databases."""

from collections.abc import AsyncIterator

import pytest

from alula.control.states import LIMIT, States
from alula.core.errors import Invalid, NotFound
from alula.core.ids import ActionId, RunId
from alula.storage.address import Address
from alula.storage.changes import Changes
from tests.storage.builders import add_action, add_run, new

from .world import Ticking

ROOT = ActionId(RunId("p", "development", "r"), "a0")
CHILD = ActionId(ROOT.run, "a1")


@pytest.fixture
async def states(address: Address) -> AsyncIterator[States]:
    async with address.database(Changes()) as database:
        run = await database.write(lambda tx: add_run(tx, "r"))
        await database.write(lambda tx: add_action(tx, run, new("a1")))
        await database.write(lambda tx: add_run(tx, "r", project="q"))
        yield States(database, Ticking())


async def test_the_last_word_counts(states: States) -> None:
    with pytest.raises(NotFound, match="no state"):
        await states.get(ROOT)
    await states.put(ROOT, '{"phase": 1}')
    await states.put(CHILD, '{"phase": 9, "name": "\u00e4"}', "a0")
    await states.put(ROOT, '{"phase": 2}', "")
    assert await states.get(ROOT) == '{"phase": 2}'
    assert await states.get(CHILD) == '{"phase": 9, "name": "\u00e4"}'
    with pytest.raises(NotFound):
        await states.get(ActionId(RunId("q", "development", "r"), "a0"))


@pytest.mark.parametrize("state", ["", "{", "{'phase': 1}", '"' + "x" * LIMIT + '"', "[" * 200_000])
async def test_what_is_no_state(states: States, state: str) -> None:
    await states.put(ROOT, "{}")
    with pytest.raises(Invalid, match="state: "):
        await states.put(ROOT, state)
    assert await states.get(ROOT) == "{}"


async def test_actions_that_do_not_exist_have_none(states: States) -> None:
    for name in (ActionId(ROOT.run, "a9"), ActionId(RunId("p", "staging", "r"), "a0")):
        with pytest.raises(NotFound, match="does not exist"):
            await states.put(name, "{}")
        with pytest.raises(NotFound, match="does not exist"):
            await states.get(name)
    with pytest.raises(Invalid, match=r"parent_action_name: .*a0"):
        await states.put(CHILD, "{}", "a7")
