"""The object stores, each started once, when the first test asks for it."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.blobs.servers import STORES, Running


class Stores:
    """Those that run, by name."""

    def __init__(self, factory: pytest.TempPathFactory, stack: ExitStack) -> None:
        self._factory, self._stack = factory, stack
        self._running: dict[str, Running] = {}

    def get(self, name: str) -> Running:
        if name not in self._running:
            self._running[name] = self._stack.enter_context(STORES[name](self._factory.mktemp(name)))
        return self._running[name]


@pytest.fixture(scope="package")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    with ExitStack() as stack:
        yield Stores(tmp_path_factory, stack)
