"""The clusters of a server, from its settings: executors, and what goes where."""

import asyncio
import hashlib
import json
import random
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

from alula.app.keys import surroundings
from alula.app.stores import Stores
from alula.base.settings import Cluster, Settings
from alula.blobs.account import KEYS, Account, keys, variables
from alula.control.archive import Archive, pack
from alula.core.errors import Unavailable
from alula.core.launch import LogLine, Originator, Segment
from alula.core.route import HERE, Claim, Routes
from alula.executors.cluster.executor import ClusterExecutor, Common, Keeping, Share
from alula.executors.process import near
from alula.executors.process.loglines import STDOUT, SYSTEM, part, whole
from alula.kube.client import Kube
from alula.kube.objects import KubeError
from alula.reconciler.places import Destinations
from alula.wire.jobs import CONNECTORS, Asking
from alula.wire.taskactions import Destination

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
    keeping, owner = Keeping(archiving(archive), stores.blobs.put), _installation(settings, stores)
    async with AsyncExitStack() as stack:
        for name, told in _elsewhere(settings).items():
            try:
                kube = await stack.enter_async_context(Kube.connect(told.kubeconfig, told.context, told.namespace))
            except KubeError as error:
                raise Unavailable(f"clusters.{name}: {error}") from error
            share = Share(owner, mine, _common(settings, stores, told))
            executor = ClusterExecutor(name, kube, keeping, share, random.random)
            found[name] = await stack.enter_async_context(executor)
        yield found


def destinations(settings: Settings, stores: Stores) -> Destinations:
    """How tasks reach this server from wherever they run."""
    here = surroundings(settings, stores.account)
    there = {
        name: Destination(
            name,
            _around(settings, stores.account, here, told),
            _kept(settings, stores, told),
            told.service_account,
            webhook=told.secrets == "webhook",
        )
        for name, told in _elsewhere(settings).items()
    }
    return Destinations(here, there, routes(settings), asking=_asking(settings))


def _asking(settings: Settings) -> Asking:
    """How tasks of connectors are carried out on this machine."""
    code = "import sys; sys.path.pop(0); from alula.cli.job import main; main()"
    told = [
        {"url": one.url.rstrip("/"), "project": one.project, "domain": one.domain, "timeout": one.timeout}
        for one in settings.executor.connectors.values()
    ]
    return Asking((sys.executable, "-c", code), {CONNECTORS: json.dumps(told)})


def routes(settings: Settings) -> Routes:
    """Which cluster runs what."""
    return Routes({name: Claim(told.queues, told.projects, told.default) for name, told in settings.clusters.items()})


def _elsewhere(settings: Settings) -> Mapping[str, Cluster]:
    return {name: told for name, told in settings.clusters.items() if name != HERE}


def _around(settings: Settings, account: Account, here: Mapping[str, str], told: Cluster) -> Mapping[str, str]:
    """Of a pod: it reaches this server by another name. Keys are not among them."""
    api = told.endpoint or settings.executor.endpoint or settings.server.public_url
    objects = told.objects or (settings.objects.endpoint if settings.objects.remote else api)
    left = {near.FOLDER, *keys(here)}
    around = {name: value for name, value in here.items() if name not in left}
    if api:
        scheme, _, place = api.partition("://")
        around |= {"_U_EP_OVERRIDE": place.rstrip("/"), "_U_INSECURE": str(scheme == "http").lower()}
    if objects:
        around |= variables(settings.objects.uri, Account(objects, account.region, account.name))
    return around


def _kept(settings: Settings, stores: Stores, told: Cluster) -> Mapping[str, str]:
    """Which Secret has which keys of the object store, for pods there."""
    if told.secret:
        return dict.fromkeys(KEYS[settings.objects.uri.partition("://")[0]], told.secret)
    common = _common(settings, stores, told)
    return dict.fromkeys(common.values, common.secret)


def _common(settings: Settings, stores: Stores, told: Cluster) -> Common:
    """The Secret of keys that this server writes."""
    if told.secret or told.credentials != "given":
        return Common()
    found = keys(variables(settings.objects.uri, stores.account))
    return Common(f"alula-objects-{_installation(settings, stores)}", found)


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


def _installation(settings: Settings, stores: Stores) -> str:
    """What tells this server and its replicas from others that use the same namespace: where they keep their rows."""
    where = settings.objects.endpoint + settings.objects.bucket if settings.objects.remote else stores.keys.key_id
    rows = settings.database.url if settings.shared else ""
    place = urlsplit(rows)
    return hashlib.sha256(f"{place.hostname}:{place.port}{place.path} {where}".encode()).hexdigest()[:16]


def _entry(line: LogLine) -> bytes:
    at, text = int(line.at.timestamp() * 1_000_000) * 1000, line.text.encode()
    stream = SYSTEM if line.originator is Originator.SYSTEM else STDOUT
    return whole(at, stream, text) if text.endswith(b"\n") else part(at, stream, text)
