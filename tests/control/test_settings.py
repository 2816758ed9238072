"""Settings: said per level, guarded against lost updates, resolved, and applied to every new run.

Case C34 (through the database), Case O16: settings are resolved and applied.
"""

import asyncio

import pytest
from flyteidl2.settings import settings_definition_pb2 as definition
from flyteidl2.task import run_pb2

from alula.core.errors import AlreadyExists, Conflict, Invalid, NotFound
from alula.core.project import ARCHIVED, Project
from alula.core.scope import Level, Scope
from alula.core.setting import values

from .world import World, creation, no_chance, spec

ORG, DOMAIN, PROJECT = Scope(), Scope("development"), Scope("development", "p")
VALUE, UNSET = definition.SETTING_STATE_VALUE, definition.SETTING_STATE_UNSET


def queue(name: str) -> definition.Settings:
    said = definition.Settings()
    said.run.default_queue.state, said.run.default_queue.string_value = VALUE, name
    return said


def variables(**entries: str) -> definition.Settings:
    said = definition.Settings()
    said.environment_variables.state = VALUE
    said.environment_variables.map_value.entries.update(entries)
    return said


async def test_levels_are_told_broadest_first_and_missing_ones_too(world: World) -> None:
    await world.settings.create(DOMAIN, queue("d"))
    levels = await world.settings.levels(PROJECT)
    assert [(r.scope, r.version, bool(r.body)) for r in levels] == [
        (ORG, 0, False), (DOMAIN, 1, True), (PROJECT, 0, False)
    ]  # fmt: skip
    assert [r.scope for r in await world.settings.levels(ORG)] == [ORG]
    resolved, version = await world.settings.resolved(PROJECT)
    assert (resolved["run.default_queue"].level, version) == (Level.DOMAIN, 0)


async def test_other_scopes_say_nothing_here(world: World) -> None:
    await world.projects.create(Project("q", "q", "", {}, 0))
    for scope in (Scope("staging"), Scope("staging", "p"), Scope("development", "q")):
        await world.settings.create(scope, queue("other"))
    assert values((await world.settings.resolved(PROJECT))[0]) == {}


async def test_one_level_after_the_other(world: World) -> None:
    await world.settings.create(ORG, variables(A="o", B="o"))
    await world.settings.create(DOMAIN, variables(B="d", C="d"))
    await world.settings.create(PROJECT, variables(C="p"))
    assert await world.settings.values("p", "development") == {"environment_variables": {"A": "o", "B": "d", "C": "p"}}
    cleared = definition.Settings()
    cleared.environment_variables.state = UNSET
    await world.settings.update(DOMAIN, cleared, 1)
    assert await world.settings.values("p", "development") == {"environment_variables": {"C": "p"}}
    await world.settings.update(PROJECT, definition.Settings(), 1)
    resolved, version = await world.settings.resolved(PROJECT)
    assert values(resolved) == {}
    assert (resolved["environment_variables"].level, version) == (Level.DOMAIN, 2)


async def test_a_version_guards_against_lost_updates(world: World) -> None:
    with pytest.raises(NotFound, match="create them first"):
        await world.settings.update(DOMAIN, queue("x"), 0)
    assert (await world.settings.create(DOMAIN, queue("a"))).version == 1
    with pytest.raises(AlreadyExists):
        await world.settings.create(DOMAIN, queue("b"))
    told = await asyncio.gather(
        *(world.settings.update(DOMAIN, queue(f"q{n}"), 1) for n in range(10)), return_exceptions=True
    )
    assert sum(isinstance(one, Conflict) for one in told) == 9
    (won,) = (one for one in told if not isinstance(one, BaseException))
    assert won.version == 2
    assert (await world.settings.levels(DOMAIN))[-1] == won
    for stale in (0, 1, 3, 2**63):
        with pytest.raises(Conflict, match="at version 2"):
            await world.settings.update(DOMAIN, queue("x"), stale)


async def test_what_cannot_be_said_is_refused_and_changes_nothing(world: World) -> None:
    with pytest.raises(Invalid, match=r"settings\.run\.default_queue"):
        await world.settings.create(DOMAIN, queue("two words"))
    elsewhere = definition.Settings()
    elsewhere.run.run_base_dir.state = VALUE
    elsewhere.run.run_base_dir.string_value = "s3://elsewhere/x"
    with pytest.raises(Invalid, match=r"settings\.run\.run_base_dir: .*s3://alula/"):
        await world.settings.create(DOMAIN, elsewhere)
    for scope in (Scope("production"), Scope("development", "missing"), Scope("production", "p")):
        with pytest.raises(NotFound):
            await world.settings.create(scope, queue("q"))
    with pytest.raises(NotFound, match="development, staging"):
        await world.settings.levels(Scope("production"))
    assert values((await world.settings.resolved(PROJECT))[0]) == {}
    await world.projects.update(Project("p", "p", "", {}, ARCHIVED))
    with pytest.raises(Conflict, match="archived"):
        await world.settings.create(PROJECT, queue("q"))


async def test_runs_are_made_with_them(world: World) -> None:
    said = variables(A="o", B="o")
    said.run.run_base_dir.state, said.run.run_base_dir.string_value = VALUE, "s3://alula/elsewhere/"
    said.labels.state = VALUE
    said.labels.map_value.entries.update(team="ml", tier="1")
    await world.settings.create(ORG, said)
    await world.settings.create(PROJECT, queue("gpu"))
    asked = run_pb2.RunSpec(labels=run_pb2.Labels(values={"tier": "2"}))
    asked.envs.values.add(key="B", value="mine")
    root = await world.runs.create(creation(run_spec=asked.SerializeToString(), labels={"tier": "2"}), no_chance)
    assert root.base_uri == "s3://alula/elsewhere/p/development/r"
    assert root.labels == {"team": "ml", "tier": "2"}
    run = await world.runs.get(root.id.run)
    stored = run_pb2.RunSpec.FromString(run.spec)
    assert {e.key: e.value for e in stored.envs.values} == {"A": "o", "B": "mine"}
    assert (stored.queue, stored.run_base_dir) == ("gpu", "s3://alula/elsewhere/")
    own = await world.runs.create(creation("own", base_dir="", run_spec=b"", domain="staging"), no_chance)
    assert own.labels == {"team": "ml", "tier": "1"}
    assert run_pb2.RunSpec.FromString((await world.runs.get(own.id.run)).spec).queue == ""


async def test_the_same_request_is_the_same_run_whatever_settings_became(world: World) -> None:
    first = await world.runs.create(creation(), no_chance)
    await world.settings.create(ORG, variables(A="new"))
    again = await world.runs.create(creation(), no_chance)
    assert again.run_key == first.run_key
    with pytest.raises(AlreadyExists):
        await world.runs.create(creation(spec=spec("t.other")), no_chance)
    fresh = await world.runs.create(creation("fresh"), no_chance)
    stored = run_pb2.RunSpec.FromString((await world.runs.get(fresh.id.run)).spec)
    assert [(e.key, e.value) for e in stored.envs.values] == [("A", "new")]


async def test_a_deleted_domain_takes_its_settings_with_it(world: World) -> None:
    domains = world.projects.domains
    await domains.create("trial", "")
    await world.settings.create(Scope("trial"), queue("q"))
    await world.settings.create(Scope("trial", "p"), queue("q"))
    await domains.delete("trial")
    await domains.create("trial", "")
    assert [r.version for r in await world.settings.levels(Scope("trial", "p"))] == [0, 0, 0]
