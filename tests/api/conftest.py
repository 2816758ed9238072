"""One server for all of these tests."""

from collections.abc import Iterator

import pytest

from tests.api.caller import Caller
from tests.api.served import Served


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("api") / "home") as server:
        yield server
    assert "Traceback" not in server.log


@pytest.fixture
async def caller(served: Served) -> Caller:
    return Caller(served.url)
