"""A database of one's own."""

from collections.abc import AsyncIterator, Iterator

import pytest

from alula.storage.address import Address
from alula.storage.changes import Changes
from alula.storage.database import Database

from .builders import Stage, staged


@pytest.fixture
def changes() -> Changes:
    return Changes()


@pytest.fixture
def stage(address: Address) -> Iterator[Stage]:
    with staged(address) as stage:
        yield stage


@pytest.fixture
async def database(address: Address, changes: Changes) -> AsyncIterator[Database]:
    async with address.database(changes) as database:
        yield database
