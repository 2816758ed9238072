"""Projects: made when first named (if the server does that), never of a bad name, closed when archived."""

import asyncio
import logging
from pathlib import Path

import pytest

from alula.blobs.store import Blobs
from alula.core.errors import AlreadyExists, Conflict, Invalid, NotFound
from alula.core.pages import Page
from alula.core.project import ARCHIVED, Project
from alula.core.run import RunScope

from .world import World, build, creation, no_chance


@pytest.fixture
def eager(world: World, tmp_path: Path) -> World:
    """A server that makes missing projects."""
    return build(world.database, world.changes, Blobs(tmp_path / "objects"), create_missing=True)


def _told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno == logging.INFO and "project" in r.getMessage()]


async def test_a_missing_project_is_made_and_told_of(eager: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    root = await eager.runs.create(creation("r1", project="new"), no_chance)
    assert root.id.run.project == "new"
    assert (await eager.projects.get("new")).title == "new"
    await eager.runs.create(creation("r2", project="new"), no_chance)
    assert _told(caplog) == ["project new did not exist: created it"]


async def test_a_race_makes_one_project(eager: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    asked = [creation(f"r{n}", project="new") for n in range(20)]
    await asyncio.gather(*(eager.runs.create(a, no_chance) for a in asked))
    assert len(_told(caplog)) == 1
    assert {p.name for p in (await eager.projects.page(Page()))[0]} == {"p", "new"}


async def test_without_that_a_missing_project_is_refused(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with pytest.raises(NotFound, match="flyte create project --id new"):
        await world.runs.create(creation("r1", project="new"), no_chance)
    assert _told(caplog) == []
    with pytest.raises(NotFound):
        await world.projects.get("new")


@pytest.mark.parametrize("asked", [creation("Bad Name", project="new"), creation("r1", project="new", domain="x")])
async def test_a_bad_request_makes_no_project(eager: World, asked: object) -> None:
    with pytest.raises((Invalid, NotFound)):
        await eager.runs.create(asked, no_chance)  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        await eager.projects.get("new")


async def test_an_archived_project_takes_no_runs(eager: World) -> None:
    """Case C37."""
    root = await eager.runs.create(creation("r1"), no_chance)
    await eager.projects.update(Project("p", "p", "", {}, ARCHIVED))
    with pytest.raises(Conflict, match="archived"):
        await eager.runs.create(creation("r2"), no_chance)
    assert (await eager.projects.get("p")).state == ARCHIVED
    page, _ = await eager.runs.page(RunScope(), Page())
    assert page == [root]
    await eager.projects.update(Project("p", "p", "", {}, 0))
    assert (await eager.runs.create(creation("r2"), no_chance)).id.run.name == "r2"


@pytest.mark.parametrize("name", ["", "x" * 64, "a/b", ".", "..", "a\nb", "\x00"])
async def test_names_that_cannot_be(eager: World, name: str) -> None:
    with pytest.raises(Invalid, match=r"project\.id"):
        await eager.projects.create(Project(name, "t", "", {}, 0))
    with pytest.raises(Invalid, match=r"project\.id|NUL"):  # PostgreSQL does not even look
        await eager.projects.require(name, "development")


async def test_create_and_update(world: World) -> None:
    made = Project("q", "Q", "about", {"k": "v"}, 0)
    await world.projects.create(made)
    assert await world.projects.get("q") == made
    with pytest.raises(AlreadyExists):
        await world.projects.create(Project("q", "other", "", {}, 0))
    assert await world.projects.get("q") == made
    changed = Project("q", "Q2", "", {}, 0)
    await world.projects.update(changed)
    assert await world.projects.get("q") == changed
    with pytest.raises(NotFound):
        await world.projects.update(Project("missing", "m", "", {}, 0))


async def test_a_domain_that_is_not_one_of_ours(eager: World) -> None:
    with pytest.raises(NotFound, match="development, staging"):
        await eager.projects.require("p", "production")
