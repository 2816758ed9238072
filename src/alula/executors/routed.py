"""Several executors as one: this machine's, and clusters. What is sent to one is found there."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Self

from alula.base.news import News
from alula.core.launch import Launch, LogLine, Observation
from alula.executors.base import Executor, Logs

if TYPE_CHECKING:  # who has no cluster does not load what speaks to one
    from alula.executors.cluster.executor import ClusterExecutor


class RoutedExecutor:
    """A launch says where it goes. Names are unique: a cluster that has one is where it was sent to.

    No cluster is asked for what it is not known to have: one that is away is not to hold up all others. ``here`` is
    ``None`` where nothing is run on this machine: who only reads logs.
    """

    def __init__(self, here: Executor | None, clusters: Mapping[str, "ClusterExecutor"]) -> None:
        self._here = here
        self._clusters = clusters
        self._all: tuple[Executor, ...] = (*((here,) if here else ()), *clusters.values())
        self._news = News()
        self._passing: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._passing = [asyncio.create_task(self._pass_on(one)) for one in self._all]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._passing:
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)

    async def submit(self, launch: Launch) -> None:
        """See `Executor.submit`."""
        to = self._clusters[launch.cluster] if launch.cluster else self._here
        assert to is not None, "who starts attempts has a place for them"
        await to.submit(launch)

    async def observe(self, name: str) -> Observation | None:
        """See `Executor.observe`."""
        where = self._where(name)
        return None if where is None else await where.observe(name)

    async def ask(self, cluster: str, name: str) -> Observation | None:
        """The same of a cluster itself: what it was last heard to have may be old.

        Raises:
            Unavailable: it does not answer.
        """
        return await self._clusters[cluster].observe(name)

    async def release(self, name: str) -> None:
        """See `Executor.release`."""
        where = self._where(name)
        if where is not None:
            await where.release(name)

    async def forget_log(self, name: str) -> bool:
        """See `Executor.forget_log`."""
        return self._here is not None and await self._here.forget_log(name)

    async def logs(self, name: str, *, follow: bool) -> AsyncIterator[list[LogLine]]:
        """See `Executor.logs`."""
        where = self._where(name)
        if where is not None:
            async for lines in where.logs(name, follow=follow):
                yield lines

    def changes(self) -> AsyncIterator[str]:
        """See `Executor.changes`."""
        return self._news.names()

    async def names(self) -> list[str]:
        """See `Executor.names`."""
        found = await asyncio.gather(*(one.names() for one in self._all))
        return [name for names in found for name in names]

    async def known(self) -> list[str]:
        """Those of other replicas, too."""
        here = [] if self._here is None else await self._here.names()
        return [*here, *(name for one in self._clusters.values() for name in one.known())]

    def _where(self, name: str) -> Executor | None:
        return next((one for one in self._clusters.values() if one.has(name)), self._here)

    async def _pass_on(self, one: Executor) -> None:
        async for name in one.changes():
            self._news.tell(name)


class EveryLog:
    """For who reads logs: whichever replica looks after an attempt, its pods can be asked."""

    def __init__(self, routed: RoutedExecutor) -> None:
        self._routed: Logs = routed
        self.names = routed.known

    def logs(self, name: str, *, follow: bool) -> AsyncIterator[list[LogLine]]:
        """See `Executor.logs`."""
        return self._routed.logs(name, follow=follow)
