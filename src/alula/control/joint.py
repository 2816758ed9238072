"""Requests that wait at the same time, carried out in one transaction: some statements for all of them."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Generic, TypeVar

from alula.core.errors import DomainError, Unavailable
from alula.storage.database import Database, Tx

Item = TypeVar("Item")
Asked = tuple[Item, asyncio.Future[None]]
Told = Sequence[DomainError | None]
_MOST = 64  # at once: bounds how long others wait for their turn


class Joint(Generic[Item]):
    """``carry_out`` does what is asked for and tells of each how that went; those it refuses have left no trace.

    Should it fail, nothing was done; then each is tried alone, so that one does not harm the others.
    """

    def __init__(
        self, database: Database, carry_out: Callable[[Tx, Sequence[Item]], Coroutine[Any, Any, Told]]
    ) -> None:
        self._database = database
        self._carry_out = carry_out
        self._waiting: list[Asked[Item]] = []
        self._working: set[asyncio.Task[None]] = set()

    async def put(self, item: Item) -> None:
        """Carry something out; it is on disk when this returns. It is carried out even if the caller is cancelled."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, done))
        if len(self._waiting) == 1:
            self._begin()
        await asyncio.shield(done)

    def _begin(self) -> None:
        working = asyncio.create_task(self._work([]))
        self._working.add(working)
        working.add_done_callback(self._working.discard)

    def _take(self) -> list[Asked[Item]]:
        some, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
        if self._waiting:
            self._begin()
        return some

    async def _work(self, some: list[Asked[Item]]) -> None:
        async def write(tx: Tx) -> Told:
            if not some:  # its turn has come: with everybody who waits by now
                some.extend(self._take())
            return await self._carry_out(tx, [item for item, _ in some])

        told: Sequence[Exception | None]
        try:
            told = await self._database.write(write)
        except Exception as error:
            some = some or self._take()
            if len(some) > 1 and not isinstance(error, Unavailable):
                for one in some:
                    await self._work([one])
                return
            told = [error] * len(some)
        for (_, done), problem in zip(some, told, strict=True):
            if done.cancelled():
                continue
            if problem is None:
                done.set_result(None)
            else:
                done.set_exception(problem)
                done.exception()  # whoever asked may be gone: that is no reason to complain
