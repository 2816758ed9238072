"""A world of one's own: the verbs, and one project to use them in."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from alula.storage.address import Address

from .world import Ticking, World, opened


@pytest.fixture
async def world(tmp_path: Path, address: Address) -> AsyncIterator[World]:
    async with opened(tmp_path, Ticking(), address) as world:
        yield world
