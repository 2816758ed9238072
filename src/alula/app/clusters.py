"""The clusters of a server, from its settings."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from alula.app.destinations import common, elsewhere, installation
from alula.app.stores import Stores
from alula.base.settings import Settings
from alula.control.archive import Archive, pack
from alula.core.errors import Unavailable
from alula.core.launch import LogLine, Originator, Segment
from alula.executors.cluster.executor import ClusterExecutor, Common, Keeping, Share
from alula.executors.process.loglines import STDOUT, SYSTEM, part, whole
from alula.kube.client import Kube
from alula.kube.objects import KubeError

_SIZE = 1 << 22  # bytes of a log that one segment of the archive has, about


@asynccontextmanager
async def clusters(
    settings: Settings, stores: Stores, archive: Archive, mine: Callable[[int], bool]
) -> AsyncIterator[Mapping[str, ClusterExecutor]]:
    """An executor for each. ``mine`` says which runs are this replica's.

    Raises:
        Unavailable: one of them is not configured.
    """
    found: dict[str, ClusterExecutor] = {}
    keeping, owner = Keeping(archiving(archive), stores.blobs.put), installation(settings, stores)
    async with AsyncExitStack() as stack:
        for name, told in elsewhere(settings).items():
            try:
                kube = await stack.enter_async_context(Kube.connect(told.kubeconfig, told.context, told.namespace))
            except KubeError as error:
                raise Unavailable(f"clusters.{name}: {error}") from error
            share = Share(owner, mine, Common(*common(settings, stores, told)))
            executor = ClusterExecutor(name, kube, keeping, share, random.random)
            found[name] = await stack.enter_async_context(executor)
        yield found


def archiving(archive: Archive) -> Callable[[str, AsyncIterator[list[LogLine]]], Awaitable[None]]:
    """Who puts the logs of a cluster's attempts into the archive, as those of this machine are there."""

    async def keep(name: str, lines: AsyncIterator[list[LogLine]]) -> None:
        number, piece = 0, bytearray()
        async for batch in lines:
            if len(piece) > _SIZE:
                await archive.put(Segment(name, number), await asyncio.to_thread(pack, bytes(piece)))
                number, piece = number + 1, bytearray()
            for line in batch:
                piece += _entry(line)
        await archive.put(Segment(name, number, last=True), await asyncio.to_thread(pack, bytes(piece)))

    return keep


def _entry(line: LogLine) -> bytes:
    at, text = int(line.at.timestamp() * 1_000_000) * 1000, line.text.encode()
    stream = SYSTEM if line.originator is Originator.SYSTEM else STDOUT
    return whole(at, stream, text) if text.endswith(b"\n") else part(at, stream, text)
