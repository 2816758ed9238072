"""One server for all of these tests, and a user of it."""

from collections.abc import Iterator

import pytest

from .user import Served, User, serving


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with a fresh home; the end of the session is a test of how it stops."""
    with serving(tmp_path_factory.mktemp("e2e") / "home") as served:
        yield served


@pytest.fixture(scope="session")
def user(server: Served, tmp_path_factory: pytest.TempPathFactory) -> User:
    """A user of that server."""
    return User(tmp_path_factory.mktemp("user"), server.home, server.port)
