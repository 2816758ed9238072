"""One server for all of these tests."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))  # `tests.api` is shared with other suites

from tests.api.caller import Caller
from tests.api.served import Served


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("api") / "home") as server:
        yield server


@pytest.fixture
async def caller(served: Served) -> Caller:
    return Caller(served.url)
