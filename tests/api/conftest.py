"""One server for all of these tests: on SQLite, or on PostgreSQL if ``ALULA_API_DATABASE`` is "postgres"."""

import os
from collections.abc import Iterator

import pytest

from tests.api.caller import Caller
from tests.api.served import Configured, Served
from tests.postgres import Cluster


@pytest.fixture(scope="session")
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("api") / "home"
    if os.environ.get("ALULA_API_DATABASE") == "postgres":
        cluster: Cluster = request.getfixturevalue("postgres")
        made: Served = Configured(home, cluster.fresh().dsn)
    else:
        made = Served(home)
    with made as server:
        yield server
    assert "Traceback" not in server.log


@pytest.fixture
async def caller(served: Served) -> Caller:
    return Caller(served.url)
