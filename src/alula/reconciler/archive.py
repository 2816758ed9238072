"""The loop that archives logs: what is finished is put into the object store, and then its copy here may go.

Create before you record: a segment counts as archived once it is moved on this disk, after the store has it. A crash
anywhere repeats a step. What its run's deletion has overtaken is removed again.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import groupby

from alula.control.archive import Archive, pack
from alula.core.errors import DomainError
from alula.core.launch import Segment
from alula.executors.base import Archivable
from alula.storage.changes import Changes, everything

_log = logging.getLogger(__name__)
_SEGMENTS, _BYTES = 64, 16 * 1024 * 1024  # that are packed at once
_PACKS, _MANY = 16, 1024  # packs, of at most so many segments, for all that waits: it is caught up with
_GATHER = 1.0  # seconds between two turns: what ends within it is archived together
_PAUSE = 0.25  # seconds between two packs: who runs hundreds of attempts in a second has better use for the processor
_TICK = 30.0  # seconds; finds segments of logs that go on, and what could not be archived
_PARTS = 16  # of the room for copies, one may be filled until it is looked what has to go: looking takes a while

_Packed = tuple[Segment, bytes]


class Archiver:
    """Works until it is cancelled. ``size``: bytes of logs that stay here after they were archived."""

    def __init__(self, logs: Archivable, archive: Archive, changes: Changes, size: int) -> None:
        self._logs = logs
        self._archive = archive
        self._changes = changes
        self._size = size
        self._added = size  # bytes of copies since it was looked what has to go

    async def run(self) -> None:
        with self._changes.signal(everything()) as changed:
            while True:
                try:
                    await self.turn()
                except* (DomainError, OSError) as problems:
                    _log.warning("logs wait to be archived: %s", problems.exceptions[0])
                except* Exception:
                    _log.exception("logs could not be archived; trying again")
                await asyncio.sleep(_GATHER)
                with suppress(TimeoutError):
                    async with asyncio.timeout(_TICK):
                        await changed.next()

    async def turn(self) -> int:
        """Archive what is finished now; how many segments."""
        found = await asyncio.to_thread(self._logs.finished)
        done, size = 0, min(_MANY, max(_SEGMENTS, len(found) // _PACKS))
        while done < len(found):
            taken, packed = await asyncio.to_thread(self._pack, found[done : done + size])
            done += taken
            async with asyncio.TaskGroup() as tasks:
                for _, log in groupby(packed, key=lambda one: one[0].name):
                    tasks.create_task(self._put(list(log)))
            for name in await asyncio.to_thread(self._note, packed):
                await self._archive.forget(name)
            if done < len(found):
                await asyncio.sleep(_PAUSE)
        if self._added and self._added >= self._size // _PARTS:
            await asyncio.to_thread(self._logs.shrink, self._size)
            self._added = 0
        return len(found)

    def _pack(self, segments: Sequence[Segment]) -> tuple[int, list[_Packed]]:
        """How many were taken, and those that are still there."""
        packed: list[_Packed] = []
        for taken, segment in enumerate(segments):
            if sum(len(data) for _, data in packed) > _BYTES:
                return taken, packed
            if (data := self._logs.read(segment)) is not None:
                packed.append((segment, pack(data)))
                self._added += max(len(data), 4096)
        return len(segments), packed

    async def _put(self, log: Iterable[_Packed]) -> None:
        """Archive segments of one log, in their order."""
        for segment, data in log:
            await self._archive.put(segment, data)

    def _note(self, archived: Iterable[_Packed]) -> set[str]:
        """Write down what is archived; the logs that were removed meanwhile."""
        return {segment.name for segment, _ in archived if not self._logs.archived(segment)}
