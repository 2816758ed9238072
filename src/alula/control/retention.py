"""Runs that are deleted: on request, or because they are old.

First the run is marked and found no more; then its objects, logs and cached results go, its rows last, all in small
steps. A crash in between leaves a marked run, which is deleted by the next sweep.

What others have taken over stays: the outputs of an action that another run had from the cache or recovered.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import timedelta

from alula.base.clock import Clock
from alula.blobs.store import Blobs
from alula.control.cache import Cache
from alula.core.errors import Conflict, DomainError, NotFound
from alula.core.ids import ROOT, ActionId, RunId
from alula.core.naming import attempt_name
from alula.core.pages import Page
from alula.core.retention import Removed, age_of
from alula.core.run import Run
from alula.storage import actions as action_store
from alula.storage import projects as project_store
from alula.storage import retention as store
from alula.storage import runs
from alula.storage.database import Database, Tx

_log = logging.getLogger(__name__)
_SOME = 200  # rows in one transaction, objects between two turns for others
_PERIOD = 3600.0  # seconds between sweeps

Forget = Callable[[str], Awaitable[bool]]  # removes the log of an attempt; whether there was one


class Retention:
    """The verbs of deletion. ``ages`` says how long ended runs are kept, by project ("*": every other)."""

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        cache: Cache,
        forget: Forget,
        ages: Mapping[str, timedelta],
        clock: Clock,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._cache = cache
        self._forget = forget
        self._ages = ages
        self._clock = clock

    async def delete(self, run: RunId) -> AsyncIterator[Removed]:
        """Delete a run that has ended; what went so far, again and again, the last time all of it.

        Raises:
            NotFound: there is no such run.
            Conflict: it has not ended, or there are artifacts that it has made.
        """

        async def write(tx: Tx) -> Run:
            root = await action_store.find(tx, ActionId(run, ROOT))
            found = await runs.find(tx, run)
            if root is None or found is None:
                raise NotFound(f"run {run} does not exist")
            if not root.phase.terminal:
                raise Conflict(f"run {run} has not ended: abort it first")
            if await store.left_artifacts(tx, found):
                raise Conflict(f"run {run} has made artifacts, and they refer to its data: delete those first")
            await store.mark(tx, found.key)
            return found

        async for removed in self._carry_out(await self._database.write(write)):
            yield removed

    async def run(self) -> None:
        """Sweep from time to time, for ever."""
        while True:
            try:
                removed = await self.sweep() + Removed(cached=await self._cache.prune())
                if removed != Removed():
                    _log.info("deleted what was old: %s", removed)
            except DomainError:
                _log.exception("the sweep of old runs failed; trying again later")
            await asyncio.sleep(_PERIOD)

    async def sweep(self) -> Removed:
        """Delete the runs that are too old, and finish what a crash has left; what went."""
        total = Removed()
        while batch := await self._database.read(lambda tx: store.marked(tx, _SOME)):
            for run in batch:
                total += await self._finish(run)
        async for project in self._projects():
            age = age_of(project, self._ages)
            while age is not None and (batch := await self._old(project, age)):
                for run in batch:
                    await self._database.write(lambda tx, key=run.key: store.mark(tx, key))  # type: ignore[misc]
                    total += await self._finish(run)
        return total

    async def _finish(self, run: Run) -> Removed:
        last = Removed()
        async for removed in self._carry_out(run):
            last = removed
        return last

    async def _projects(self) -> AsyncIterator[str]:
        token = ""
        while True:
            page, token = await self._database.scan(
                lambda tx, token=token: project_store.page(tx, Page(limit=_SOME, token=token))  # type: ignore[misc]
            )
            for project in page:
                yield project.name
            if not token:
                return

    async def _old(self, project: str, age: timedelta) -> list[Run]:
        before = self._clock() - age
        return await self._database.scan(lambda tx: store.ended_before(tx, project, before, _SOME))

    async def _carry_out(self, run: Run) -> AsyncIterator[Removed]:
        total = Removed()
        root = await self._database.read(lambda tx: action_store.get(tx, run.key, ROOT))
        if root is not None:  # as long as it is there, so is everything else
            async for removed in self._clean(run, root.base_uri):
                total += removed
                yield total
        while (removed := await self._database.write(lambda tx: store.remove_some(tx, run.key, _SOME))) != Removed():
            total += removed
            yield total
            await asyncio.sleep(0)

    async def _clean(self, run: Run, base: str) -> AsyncIterator[Removed]:
        """Everything outside of the run's own rows."""
        cached = await self._database.write(lambda tx: store.forget_cached(tx, str(run.id)))
        yield Removed(cached=cached)
        kept = await self._database.read(lambda tx: store.taken_over(tx, run.key, base))
        async for removed in self._objects(base, kept):
            yield removed
        after = ""
        while batch := await self._database.read(lambda tx, name=after: store.attempts(tx, run.key, name, _SOME)):  # type: ignore[misc]
            after = batch[-1][0]
            logs = 0
            for name, tried in batch:
                for attempt in range(1, tried + 1):
                    logs += await self._forget(attempt_name(ActionId(run.id, name), attempt))
            yield Removed(logs=logs)

    async def _objects(self, base: str, kept: list[str]) -> AsyncIterator[Removed]:
        stay = tuple(f"{prefix}/" for prefix in kept)
        removed = Removed()
        async for uri, meta in self._blobs.list(f"{base}/"):
            if not uri.startswith(stay):
                await self._blobs.delete(uri)
                removed += Removed(objects=1, bytes=meta.size)
            if removed.objects >= _SOME:
                yield removed
                removed = Removed()
        yield removed
