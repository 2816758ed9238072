"""A world of one's own: the verbs, and one project to use them in."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from .world import Ticking, World, opened


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with opened(tmp_path, Ticking()) as world:
        yield world
