"""Domains: seeded once, named in every error, and not deleted from under what is in them."""

import pytest
from flyteidl2.task import task_service_pb2

from alula.core.errors import AlreadyExists, Conflict, NotFound

from .world import DOMAINS, World, creation, no_chance


async def test_they_are_seeded_once(world: World) -> None:
    domains = world.projects.domains
    assert [d.name for d in await domains.every()] == list(DOMAINS)
    await domains.delete("staging")
    await domains.seed(DOMAINS)
    assert [d.name for d in await domains.every()] == ["development"]


async def test_create_rename_delete(world: World) -> None:
    domains = world.projects.domains
    made = await domains.create("trial", "Trial and error")
    assert await domains.get("trial") == made
    with pytest.raises(AlreadyExists):
        await domains.create("trial", "")
    assert (await domains.rename("trial", "")).title == "Trial and error"
    assert (await domains.rename("trial", "New")).title == "New"
    assert (await domains.get("trial")).title == "New"
    assert (await domains.create("plain", "")).title == "plain"
    await domains.delete("trial")
    for gone in (domains.get("trial"), domains.rename("trial", "x"), domains.delete("trial")):
        with pytest.raises(NotFound, match="there are: development, staging, plain"):
            await gone


async def test_runs_go_where_there_is_a_domain(world: World) -> None:
    with pytest.raises(NotFound, match="'trial' does not exist"):
        await world.runs.create(creation(domain="trial"), no_chance)
    await world.projects.domains.create("trial", "")
    assert (await world.runs.create(creation(domain="trial"), no_chance)).id.run.domain == "trial"


async def test_one_with_runs_or_tasks_stays(world: World) -> None:
    domains = world.projects.domains
    for name in ("runs", "tasks"):
        await domains.create(name, "")
    await world.runs.create(creation(domain="runs"), no_chance)
    request = task_service_pb2.DeployTaskRequest()
    request.task_id.project, request.task_id.domain, request.task_id.name = "p", "tasks", "t"
    await world.tasks.deploy(request)
    for name in ("runs", "tasks"):
        with pytest.raises(Conflict, match="has runs or tasks"):
            await domains.delete(name)


async def test_the_last_one_stays(world: World) -> None:
    domains = world.projects.domains
    await domains.delete("staging")
    with pytest.raises(Conflict, match="the last one"):
        await domains.delete("development")
