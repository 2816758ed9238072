"""Which attempts are worth looking at, told to the one who looks."""

import asyncio
from collections.abc import AsyncIterator


class News:
    """Names, each once however often it is told until it is taken. For one reader."""

    def __init__(self) -> None:
        self._names: dict[str, None] = {}
        self._told = asyncio.Event()

    def tell(self, name: str) -> None:
        self._names[name] = None
        self._told.set()

    async def names(self) -> AsyncIterator[str]:
        """What is told, as it is told, for ever."""
        while True:
            await self._told.wait()
            self._told.clear()
            names, self._names = self._names, {}
            for name in names:
                yield name
