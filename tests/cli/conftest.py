"""A server with runs to look at from a shell."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))  # `tests.api` is shared with other suites

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
