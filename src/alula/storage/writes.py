"""Writes in groups: whatever waits when a writer is free shares one transaction and one wait for the disk."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from alula.core.errors import Unavailable
from alula.storage.changes import Change, Changes
from alula.storage.database import Operation

T = TypeVar("T")


@dataclass(slots=True)
class Write:
    """An operation handed over, and what became of it."""

    operation: Operation[Any]
    done: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None
    changed: list[Change] = field(default_factory=list)


class Writes:
    """The operations that wait, and the task that hands them to ``commit`` in groups of at most ``size``.

    ``commit`` leaves in each write its result or its error. Watchers are told before who asked is answered.
    """

    def __init__(self, commit: Callable[[list[Write]], Awaitable[None]], changes: Changes, size: int) -> None:
        self._commit = commit
        self._changes = changes
        self._size = size
        self._waiting: deque[Write] = deque()
        self._some = asyncio.Event()
        self._closing = False

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._writer = asyncio.create_task(self._work(), name="writer")

    async def close(self) -> None:
        """Take no more; return when all that was taken is done."""
        self._closing = True
        self._some.set()
        await self._writer

    async def put(self, operation: Operation[T]) -> T:
        """Hand an operation over and wait for its end. It is carried out even if the caller is cancelled."""
        if self._closing:
            raise Unavailable("the server is ending; nothing was done")
        done: asyncio.Future[T] = self._loop.create_future()
        self._waiting.append(Write(operation, done))
        self._some.set()
        return await asyncio.shield(done)

    async def _work(self) -> None:
        while self._waiting or not self._closing:
            if not self._waiting:
                self._some.clear()
                await self._some.wait()
                continue
            group = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._size))]
            try:
                await self._commit(group)
            except Exception as error:  # a mistake in here must not end the writer
                for write in group:
                    write.error = error
            self._settle(group)

    def _settle(self, group: list[Write]) -> None:
        self._changes.publish(change for write in group if write.error is None for change in write.changed)
        for write in group:
            if write.done.cancelled():
                continue
            if write.error is not None:
                write.done.set_exception(write.error)
                write.done.exception()  # whoever asked may be gone: that is no reason to complain
            else:
                write.done.set_result(write.result)
