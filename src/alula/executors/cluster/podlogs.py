"""The logs of an attempt's pods as one: its primary container's lines as they are, the others' with their names."""

import asyncio
import heapq
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing
from datetime import UTC, datetime
from typing import NamedTuple

from alula.core.launch import LogLine, Originator
from alula.core.taskaction import State
from alula.kube.client import Kube
from alula.kube.objects import KubeError, Name, NotFound, Refused

_LONGEST = 1 << 16  # bytes of a line; a longer one is told in pieces
_BATCH = 1000  # lines
_QUEUE = 100  # batches that wait for a slow reader
_AGAIN = 1.0  # seconds until a stream that was cut is opened again
_AT_ONCE = 50  # containers of which the logs are read together
_NEVER = datetime.min.replace(tzinfo=UTC)

Lasts = dict["Source", datetime]


class Source(NamedTuple):
    """One container's log. ``prefix`` tells it apart; the primary one has none."""

    pod: Name
    container: str
    prefix: str = ""


def sources(state: State) -> list[Source]:
    """Every container that has started: the primary one first, then the init ones, then all others."""
    several = len(state.pods) > 1
    found = []
    for pod in state.pods:
        for one in pod.containers:
            if one.started_at is not None:
                main = one.name == pod.primary
                prefix = "" if main and not several else f"[{pod.name}/{one.name}] " if several else f"[{one.name}] "
                found.append((not main, not one.init, Source(Name(pod.namespace, pod.name), one.name, prefix)))
    return [source for *_, source in sorted(found, key=lambda one: one[:2])]


async def read(
    kube: Kube, state: State, lasts: Lasts | None = None, *, follow: bool = False
) -> AsyncIterator[list[LogLine]]:
    """What there is now, in the order of time; of a pod that is gone there is nothing any more.

    ``lasts``: the times of the last lines that are known already; it is kept up to date. ``follow``: until all of these
    containers have ended.

    Raises:
        Busy: the cluster does not answer, or a node does not.
    """
    known = {} if lasts is None else lasts
    all_of_them = sources(state)
    for start in range(0, len(all_of_them), _AT_ONCE):
        async for batch in _merged(kube, all_of_them[start : start + _AT_ONCE], known, follow=follow):
            yield batch


async def follow(
    kube: Kube, look: Callable[[], State | None], changed: Callable[[], Awaitable[None]]
) -> AsyncIterator[list[LogLine]]:
    """What there is and what comes, of all containers as they start, until the attempt is over.

    ``look`` gives its state, ``None`` when it is gone; ``changed`` waits until that may be another one.
    """
    told: asyncio.Queue[list[LogLine] | None] = asyncio.Queue(_QUEUE)
    begun: dict[Source, asyncio.Task[None]] = {}

    def over() -> bool:
        state = look()
        return state is None or state.stage.over

    async def watch() -> None:
        try:
            while (state := look()) is not None:
                for source in sources(state):
                    if source not in begun:
                        begun[source] = asyncio.create_task(_tell(kube, source, told, over))
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


async def _tell(
    kube: Kube, source: Source, told: asyncio.Queue[list[LogLine] | None], over: Callable[[], bool]
) -> None:
    """Pass on a container's log until the attempt is over. Where its stream is cut, it goes on after the last line."""
    lasts: Lasts = {}
    while True:
        last = over()  # then what comes now is all there will be
        try:
            async for lines in _lines(kube, source, lasts, follow=True):
                await told.put(lines)
        except NotFound:
            return
        except Refused:  # the node does not know the container yet, or any more
            pass
        except KubeError:
            if last:
                raise
        if last:
            return
        await asyncio.sleep(_AGAIN)  # nobody tells when a container starts anew, or its node is back


async def _merged(kube: Kube, some: Sequence[Source], lasts: Lasts, *, follow: bool) -> AsyncIterator[list[LogLine]]:
    """The lines of several logs by their times."""
    async with AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(aclosing(_patient(kube, one, lasts, follow=follow))) for one in some]
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


async def _patient(kube: Kube, source: Source, lasts: Lasts, *, follow: bool) -> AsyncGenerator[list[LogLine]]:
    """One log; none if there is none."""
    try:
        async for lines in _lines(kube, source, lasts, follow=follow):
            yield lines
    except (NotFound, Refused):
        return


async def _lines(kube: Kube, source: Source, lasts: Lasts, *, follow: bool) -> AsyncIterator[list[LogLine]]:
    """One log, after the last line that is known."""
    since = lasts.get(source, _NEVER)
    asked = "" if since == _NEVER else since.isoformat().replace("+00:00", "Z")
    decoder = Decoder(source.prefix, since)
    async with aclosing(kube.logs(source.pod, source.container, follow=follow, since=asked)) as pieces:
        async for piece in pieces:
            if lines := list(decoder.feed(piece)):
                lasts[source] = lines[-1].at
                yield lines
    if lines := list(decoder.end()):
        lasts[source] = lines[-1].at
        yield lines


class Decoder:
    """A container's log as a cluster tells it, ``<time> <text>`` for each line, made into lines.

    ``since``: what is not later was told before. A line that is too long is told in pieces of the same time.
    """

    def __init__(self, prefix: str, since: datetime) -> None:
        self._prefix, self._since = prefix, since
        self._rest = b""
        self._open: datetime | None = None  # the time of a line that was told in part

    def feed(self, piece: bytes) -> Iterator[LogLine]:
        """The lines that are complete with this."""
        *whole, self._rest = (self._rest + piece).split(b"\n")
        for line in whole:
            yield from self._line(line, "\n")
            self._open = None
        while len(self._rest) > _LONGEST:
            cut = _character_end(self._rest, _LONGEST)
            taken, self._rest = self._rest[:cut], self._rest[cut:]
            yield from self._line(taken, "")

    def end(self) -> Iterator[LogLine]:
        """What is left: a line without an end."""
        if self._rest:
            yield from self._line(self._rest, "")
            self._rest = b""

    def _line(self, line: bytes, end: str) -> Iterator[LogLine]:
        text, prefix = line.decode(errors="replace"), ""
        at = self._open
        if at is None:
            stamp, _, text = text.partition(" ")
            try:
                at = datetime.fromisoformat(stamp)
            except ValueError:  # the cluster's own words: "rpc error: ..."
                return
            prefix = self._prefix
        self._open = None if end else at
        if at > self._since:
            yield LogLine(at, f"{prefix}{text}{end}", Originator.USER)


def _character_end(data: bytes, at: int) -> int:
    """The last place up to ``at`` where no character is cut."""
    for back in range(4):
        if data[at - back] & 0xC0 != 0x80:
            return at - back
    return at
