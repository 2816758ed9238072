"""A database of one's own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from alula.storage.changes import Changes
from alula.storage.database import Database

from .builders import fresh


@pytest.fixture
def changes() -> Changes:
    return Changes()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return fresh(tmp_path / "alula.db")


@pytest.fixture
async def database(path: Path, changes: Changes) -> AsyncIterator[Database]:
    async with Database(path, changes) as database:
        yield database
