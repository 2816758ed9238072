"""Servers to make trouble for."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.caller import Caller
from tests.api.served import Served


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for what must not harm a server."""
    with Served(tmp_path_factory.mktemp("trouble") / "home") as server:
        yield server
        assert server.process is not None
        assert server.process.poll() is None, "it did not live through these tests"
    assert "Traceback" not in server.log


@pytest.fixture
async def caller(served: Served) -> Caller:
    return Caller(served.url)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Served]:
    """A server of the test's own, not started yet."""
    server = Served(tmp_path / "home")
    yield server
    if server.process is not None:
        server.stop()
