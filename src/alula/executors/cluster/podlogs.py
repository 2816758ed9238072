"""The logs of an attempt's pods as one: its primary container's lines as they are, the others' with their names.

What a cluster has lost is said in its place: a pod that is gone takes its log along, and of a container that was
started again only the life before the last is kept.
"""

import asyncio
import heapq
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing
from datetime import UTC, datetime
from typing import NamedTuple

from alula.core.launch import LogLine, Originator
from alula.core.taskaction import Container, State
from alula.executors.cluster.decoder import Decoder
from alula.kube.client import Kube
from alula.kube.objects import KubeError, Name, NotFound, Refused

_BATCH = 1000  # lines
_QUEUE = 100  # batches that wait for a slow reader
_AGAIN = 1.0  # seconds until a stream that was cut is opened again
_TRIES = 3  # to read what is left of an attempt that is over, of a node that does not answer
_AT_ONCE = 50  # containers of which the logs are read together
_NEVER = datetime.min.replace(tzinfo=UTC)
_GONE = "its pod is gone, and with it what is not told here"

Told = asyncio.Queue[list[LogLine] | None]


class Source(NamedTuple):
    """One container's log. ``prefix`` tells it apart; the primary one has none."""

    pod: Name
    container: str
    prefix: str = ""


def sources(state: State) -> dict[Source, Container]:
    """Every container that has started: the primary one first, then the init ones, then all others."""
    several = len(state.pods) > 1
    found = []
    for pod in state.pods:
        for one in pod.containers:
            if one.started_at is not None:
                main = one.name == pod.primary
                prefix = "" if main and not several else f"[{pod.name}/{one.name}] " if several else f"[{one.name}] "
                found.append((not main, not one.init, Source(Name(pod.namespace, pod.name), one.name, prefix), one))
    return {source: one for *_, source, one in sorted(found, key=lambda one: one[:2])}


async def read(kube: Kube, state: State, *, follow: bool = False, patient: bool = True) -> AsyncIterator[list[LogLine]]:
    """What there is now, in the order of time. ``follow``: until all of these containers have ended.

    ``patient``: what does not answer now may answer later; else it is said that it does not.

    Raises:
        Busy: the cluster does not answer, or a node does not.
    """
    all_of_them = [
        _Log(kube, source, container.restarts, container.ended_at or container.started_at or _NEVER)
        for source, container in sources(state).items()
    ]
    for start in range(0, len(all_of_them), _AT_ONCE):
        streams = [one.all(follow=follow, patient=patient) for one in all_of_them[start : start + _AT_ONCE]]
        async for batch in _merged(streams):
            yield batch


async def follow(
    kube: Kube, look: Callable[[], State | None], changed: Callable[[], Awaitable[None]]
) -> AsyncIterator[list[LogLine]]:
    """What there is and what comes, of all containers as they start, until the attempt is over.

    ``look`` gives its state, ``None`` when it is gone; ``changed`` waits until that may be another one.
    """
    told: Told = asyncio.Queue(_QUEUE)
    begun: dict[Source, asyncio.Task[None]] = {}

    async def watch() -> None:
        try:
            while (state := look()) is not None:
                for source in sources(state):
                    if source not in begun:
                        begun[source] = asyncio.create_task(_tell(kube, source, told, look))
                if state.stage.over:
                    break
                await changed()
            await asyncio.gather(*begun.values())
        finally:
            await told.put(None)

    watching = asyncio.create_task(watch())
    try:
        while (lines := await told.get()) is not None:
            yield lines
        await watching
    finally:
        for task in (watching, *begun.values()):
            task.cancel()
        await asyncio.gather(watching, *begun.values(), return_exceptions=True)


async def _tell(kube: Kube, source: Source, told: Told, look: Callable[[], State | None]) -> None:
    """Pass on a container's log until the attempt is over. Where its stream is cut, it goes on after the last line."""
    log = _Log(kube, source)
    failures = 0
    while True:
        state = look()
        container = sources(state).get(source) if state is not None else None
        last = state is None or state.stage.over  # then what comes now is all there will be
        if container is not None:
            log.restarts = container.restarts
        ended = last or (container is not None and container.ended_at is not None)
        problem = ""
        try:
            async for lines in log.lines(follow=True):
                failures = 0
                await told.put(lines)
            if ended:
                return
        except NotFound:
            problem, last = _GONE, True
        except Refused as error:  # the node does not know the container yet, or any more
            problem = str(error)
        except KubeError as error:
            problem, failures = str(error), failures + 1
            last = last and failures >= _TRIES
        if last:
            if problem and look() is not None:  # else it was released: all is in the archive
                await told.put([log.cut(problem)])
            return
        await asyncio.sleep(_AGAIN)  # nobody tells when a container starts anew, or its node is back


class _Log:
    """One container's log, from wherever it was read to. ``restarts``: how often it is known to have started again."""

    def __init__(self, kube: Kube, source: Source, restarts: int = 0, at: datetime = _NEVER) -> None:
        self._kube, self._source, self._at = kube, source, at
        self._decoder = Decoder(source.prefix)
        self._seen = 0  # restarts before what was read
        self.restarts = restarts

    async def all(self, *, follow: bool, patient: bool) -> AsyncGenerator[list[LogLine]]:
        """What there is of it; if there is nothing, or not all, that is said."""
        try:
            async for lines in self.lines(follow=follow):
                yield lines
        except NotFound:
            yield [self.cut(_GONE)]
        except Refused as error:
            yield [self.cut(str(error))]
        except KubeError as error:
            if patient:
                raise
            yield [self.cut(str(error))]

    async def lines(self, *, follow: bool) -> AsyncIterator[list[LogLine]]:
        """What was not told yet: first of the life before, if there was one."""
        restarts = self.restarts
        if restarts - self._seen > 1:
            self._seen = restarts - 1
            text = f"(the container {self._source.container} was started again {restarts} times; what it said "
            yield [self._own(f"{text}before its last two lives is lost)")]
        if restarts > self._seen:
            try:
                async for lines in self._stream(previous=True):
                    yield lines
            except Refused:  # it is not kept any more
                pass
            self._seen = restarts
        async for lines in self._stream(follow=follow):
            yield lines

    def cut(self, why: str) -> LogLine:
        """That the log is not all there is."""
        return self._own(f"(the log of {self._source.pod.name}/{self._source.container} is cut here: {why})")

    def _own(self, text: str) -> LogLine:
        return LogLine(self._decoder.at or self._at, f"{self._source.prefix}{text}\n", Originator.SYSTEM)

    async def _stream(self, *, follow: bool = False, previous: bool = False) -> AsyncIterator[list[LogLine]]:
        source, decoder = self._source, self._decoder
        asked = self._kube.logs(source.pod, source.container, follow=follow, previous=previous, since=decoder.since)
        decoder.begin()
        async with aclosing(asked) as pieces:
            async for piece in pieces:
                if lines := list(decoder.feed(piece)):
                    yield lines
        if lines := list(decoder.end()):
            yield lines


async def _merged(logs: Sequence[AsyncGenerator[list[LogLine]]]) -> AsyncIterator[list[LogLine]]:
    """The lines of several logs by their times."""
    async with AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(aclosing(one)) for one in logs]
        heads: list[tuple[datetime, int, Iterator[LogLine], LogLine]] = []

        async def pull(number: int, batch: Iterator[LogLine]) -> None:
            while True:
                if (line := next(batch, None)) is not None:
                    heapq.heappush(heads, (line.at, number, batch, line))
                    return
                if (more := await anext(streams[number], None)) is None:
                    return
                batch = iter(more)

        for number in range(len(streams)):
            await pull(number, iter(()))
        out: list[LogLine] = []
        while heads:
            _, number, batch, line = heapq.heappop(heads)
            out.append(line)
            if len(out) == _BATCH:
                yield out
                out = []
            await pull(number, batch)
        if out:
            yield out
