"""The databases that tests run on: a SQLite file, and a PostgreSQL server that is started when the first test asks."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from alula.storage.address import Address, SqliteFile
from tests.postgres import Cluster, run, running


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """The server of this session."""
    with running() as cluster:
        yield cluster


@pytest.fixture(params=["sqlite", "postgres"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Address]:
    """A database of one's own, of the newest schema: each test runs on both kinds."""
    if request.param == "sqlite":
        file = SqliteFile(tmp_path / "alula.db")
        run(file.migrate())
        yield file
        return
    cluster: Cluster = request.getfixturevalue("postgres")
    server = cluster.fresh()
    yield server
    cluster.drop(server)
