"""The logs of apps: of all their replicas, those that have ended too, in the order of their lines' times."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from enum import Enum
from itertools import groupby

from alula.control.apps import Apps
from alula.control.serving import Serving
from alula.core.app import App, AppId, Replica
from alula.core.errors import NotFound
from alula.core.launch import LogLine
from alula.executors.base import Logs

_BACKLOG = 1000  # lines of a replica that has ended
_HELD = 16  # batches that wait for a slow client
_GATHER = 0.1  # seconds in which the lines of several replicas are put into their order


class Source(Enum):
    """Which logs are asked for."""

    ALL = "all"
    LIVE = "live"  # of replicas that run
    PERSISTED = "persisted"  # of replicas that have ended


@dataclass(frozen=True, slots=True)
class Replicas:
    """The replicas whose lines follow. Told first, and whenever there is another."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines of one replica."""

    replica: str
    lines: Sequence[LogLine]
    live: bool


_Line = tuple[LogLine, str, bool]  # what was said, by which replica, and whether that one runs
_Said = asyncio.Queue[Replicas | list[_Line] | None]


class AppLogs:
    """The verbs of apps' logs."""

    def __init__(self, apps: Apps, serving: Serving, kept: Logs) -> None:
        self._apps = apps
        self._serving = serving
        self._kept = kept

    async def tail(self, app: AppId, replica: str, source: Source) -> AsyncIterator[Replicas | Lines]:
        """What an app's replicas have said, and say, for as long as the app exists; or one replica, until it ends.

        Clients drop lines that are older than the last one they have seen, so lines come in the order of their times.

        Raises:
            NotFound: there is no such app, or it has had no such replica.
        """
        found = await self._apps.get(app)
        if replica and replica not in await self._replicas(found):
            raise NotFound(f"app {app} has no replica {replica!r}, or its log is not kept any more")
        said: _Said = asyncio.Queue(_HELD)
        listening = asyncio.create_task(self._listen(found, replica, source, said))
        try:
            items: list[Replicas | list[_Line] | None] = []
            while None not in items:
                items = [await said.get()]
                await asyncio.sleep(_GATHER)
                items += [said.get_nowait() for _ in range(said.qsize())]
                for item in items:
                    if isinstance(item, Replicas):
                        yield item
                for lines in _ordered([line for item in items if isinstance(item, list) for line in item]):
                    yield lines
            await listening
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def _replicas(self, app: App) -> list[str]:
        async with aclosing(self._serving.replicas(app.key)) as replicas:
            return [replica.name for replica in await anext(replicas, [])]

    async def _listen(self, app: App, only: str, source: Source, said: _Said) -> None:
        try:
            async with asyncio.TaskGroup() as copies:
                async for fresh in self._fresh(app, only, said):
                    if source is not Source.LIVE:
                        await self._recall([r.name for r in fresh if r.ended_at is not None], said)
                    if source is Source.PERSISTED:
                        break
                    for one in fresh:
                        if one.ended_at is None:
                            copies.create_task(self._copy(one.name, said))
                    if only:
                        break
        except Exception:
            await said.put(None)
            raise
        await said.put(None)

    async def _fresh(self, app: App, only: str, said: _Said) -> AsyncIterator[list[Replica]]:
        """The app's replicas, then each new one; whoever reads the log is told of them first."""
        known: list[str] | None = None
        async for replicas in self._serving.replicas(app.key):
            fresh = [r for r in replicas if r.name not in (known or ()) and only in ("", r.name)]
            if fresh or known is None:
                known = [*(known or ()), *(r.name for r in fresh)]
                await said.put(Replicas(tuple(known)))
                yield fresh

    async def _recall(self, names: Sequence[str], said: _Said) -> None:
        """The last lines of replicas that have ended."""
        lines: list[_Line] = []
        for name in names:
            last: deque[LogLine] = deque(maxlen=_BACKLOG)
            async for batch in self._kept.logs(name, follow=False):
                last.extend(batch)
            lines += [(line, name, False) for line in last]
        await said.put(lines)

    async def _copy(self, name: str, said: _Said) -> None:
        async for batch in self._kept.logs(name, follow=True):
            await said.put([(line, name, True) for line in batch])


def _ordered(lines: list[_Line]) -> list[Lines]:
    lines.sort(key=lambda line: line[0].at)
    grouped = groupby(lines, key=lambda line: line[1:])
    return [Lines(replica, [line for line, _, _ in group], live) for (replica, live), group in grouped]
