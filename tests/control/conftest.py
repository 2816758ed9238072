"""A world of one's own: the verbs, and one project to use them in."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from alula.blobs.store import Blobs
from alula.core.project import Project
from alula.storage.changes import Changes
from alula.storage.database import Database, connect
from alula.storage.migrate import migrate

from .world import World, build


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    connection = connect(tmp_path / "alula.db")
    migrate(connection)
    connection.close()
    changes = Changes()
    async with Database(tmp_path / "alula.db", changes) as database:
        world = build(database, changes, Blobs(tmp_path / "objects"))
        await world.projects.create(Project("p", "p", "", {}, 0))
        yield world
