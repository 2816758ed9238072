"""A server with runs to look at from a shell."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.api.caller import Caller, python
from tests.api.served import Served


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("cli") / "home") as server:
        asyncio.run(_fill(server.url))
        yield server


async def _fill(url: str) -> None:
    caller = Caller(url)
    await caller.finished(python("print('Hello Flyte')"), name="good", project="my-project")
    await caller.finished(python("raise SystemExit(3)"), name="bad", project="my-project")
