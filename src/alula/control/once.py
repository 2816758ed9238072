"""What many pieces of one work need is got once for all of them."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Once:
    """Results by key, also those that are still under way. Short-lived: what it knows may change meanwhile."""

    def __init__(self) -> None:
        self._found: dict[Hashable, asyncio.Future[Any]] = {}

    async def get(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of ``work``, or its error, whoever asked first."""
        if key not in self._found:
            self._found[key] = asyncio.ensure_future(work())
        result: T = await asyncio.shield(self._found[key])
        return result


class Get(Protocol):
    """A way to get something that others may want, too."""

    async def __call__(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, T]], /) -> T: ...


async def alone(key: Hashable, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """For a piece of work of its own: nothing is shared."""
    return await work()
