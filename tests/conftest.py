"""What tests run on: a SQLite file, a PostgreSQL server started when the first test asks, no container engine."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from alula.storage.address import Address, SqliteFile
from tests.postgres import Cluster, run, running


@pytest.fixture(scope="session", autouse=True)
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Engines that do not answer: one that did would try to get the images of tests. The PATH without them."""
    path = os.environ["PATH"]
    folder = tmp_path_factory.mktemp("engines")
    for name in ("docker", "podman"):
        (folder / name).write_text("#!/bin/sh\necho 'no engine for tests'; exit 1\n")
        (folder / name).chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{folder}{os.pathsep}{path}")
        yield path


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
