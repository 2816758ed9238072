"""One Manager as a program: everything it is made of, from its start to its end."""

import asyncio
import logging
import random
import socket
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress

from flyteidl2.workflow.events_proxy_service_connect import EventsProxyServiceClient

from alula.base.clock import steady_clock, system_clock
from alula.core.errors import Unavailable
from alula.core.taskaction import SHARD, Request, Stage, State
from alula.kube.client import Kube
from alula.kube.leader import Candidate
from alula.kube.objects import KubeError, Name, Object, labels_of
from alula.kube.shares import Shares
from alula.manager.attempts import Attempts, Outside
from alula.manager.controller import Controller, Pace
from alula.manager.door import door
from alula.manager.events import Events, Rhythm
from alula.manager.loader import installed, remotes
from alula.manager.metrics import Metrics
from alula.manager.plans import Choice, Plans
from alula.manager.plugins.base import Offers, Plugin, Remote, Store
from alula.manager.record import Hears
from alula.manager.remote.secret import Secrets
from alula.manager.remote.templates import Fetched, NoStore
from alula.manager.settings import Manager, replica
from alula.manager.world import World
from alula.rpc.app import App
from alula.rpc.server import Server

_log = logging.getLogger(__name__)
_LEASE = "alula-manager"
_EVERYWHERE = "*"
_LAST = 5.0  # seconds at the end for what people are still to be told
_dice = random.SystemRandom().random

Say = Callable[[str], None]


async def serve(
    settings: Manager, plugins: Mapping[str, Plugin], store: Store | None, stop: asyncio.Event, say: Say
) -> None:
    """Work until ``stop``; then let the steps under way end, and let others have the work at once.

    ``store`` is the object store of the control plane, if this Manager is told of it.

    Raises:
        Unavailable: no cluster is configured or answers, or an address cannot be listened on.
    """
    metrics = Metrics()
    listener = _listener(settings.listen)
    try:
        kube = Kube.connect(settings.kubeconfig, settings.context, settings.namespace, metrics.called)
    except KubeError as error:
        raise Unavailable(str(error)) from error
    async with kube:
        try:
            say(f"the cluster answers: Kubernetes {await kube.version()}")
        except KubeError as error:
            raise Unavailable(str(error)) from error
        await Program(settings, plugins, kube, metrics, store).run(stop, say, listener)


class Program:
    """A Manager of one cluster."""

    def __init__(
        self,
        settings: Manager,
        plugins: Mapping[str, Plugin],
        kube: Kube,
        metrics: Metrics,
        store: Store | None = None,
    ) -> None:
        self._settings = settings
        self._kube = kube
        self.metrics = metrics
        everywhere = settings.namespace == _EVERYWHERE
        self.namespace = "" if everywhere else settings.namespace or kube.namespace
        self.events = _events(settings)
        distinct = list({id(plugin): plugin for plugin in plugins.values()}.values())
        self.world = World(kube, self.namespace, distinct, _dice)
        offers = Offers(store or NoStore(), Secrets(kube), steady_clock)
        choice = Choice(plugins, _remotes(settings, offers))
        plans = Plans(choice, settings.pods, self.world.templates, Fetched(offers.store))
        hears: Hears = self.events or _Nobody()
        outside = Outside(kube, system_clock, hears, self._is_ours, self._may_write)
        self.attempts = Attempts(self.world, plans, outside)
        pace = Pace(system_clock, steady_clock, _dice, metrics.took, settings.workers)
        self.controller = Controller(self.world, self.attempts, pace)
        identity = f"{replica(settings)}-{uuid.uuid4().hex[:8]}"
        self._shares = Shares(
            Candidate(kube, identity, steady_clock, system_clock),
            Name(self.namespace or kube.namespace, _LEASE),
            settings.groups,
            drain=self._drain,
            changed=self._changed,
        )
        self._held: frozenset[int] = frozenset()
        self._joined = False
        self._watch()

    async def run(self, stop: asyncio.Event, say: Say, listener: socket.socket | None = None) -> None:
        """See `serve`."""
        async with asyncio.TaskGroup() as tasks:
            around = [tasks.create_task(self.controller.run(), name="controller")]
            if self.events is not None:
                around.append(tasks.create_task(self.events.run(), name="events"))
            if listener is not None:
                server = Server(App([]), [listener], front=door(self.metrics, self.unready), grace=1.0)
                around.append(tasks.create_task(server.run(asyncio.Event()), name="door"))
            around.append(tasks.create_task(self._welcome(say), name="welcome"))
            async with self._shares:
                self._joined = True
                await stop.wait()
                say("stopping: steps under way are let end")
                await self.controller.stop()
            say("the work is given back")
            if self.events is not None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LAST):
                        await self.events.sent()
            for task in around:
                task.cancel()

    def unready(self) -> str:
        """Why it is not ready, "" if it is."""
        if late := self.world.late():
            return f"not yet seen of the cluster: {', '.join(late)}"
        return "" if self._joined else "it is not known yet which part of the work is ours"

    async def _welcome(self, say: Say) -> None:
        await self.world.synced()
        where = f"the namespace {self.namespace}" if self.namespace else "all namespaces"
        say(f"alula manager is ready: {len(self.world.actions)} TaskActions in {where}")

    def _is_ours(self, found: Object) -> bool:
        return self._group(found) in self._held

    def _may_write(self, found: Object) -> bool:
        return self._shares.holds(self._group(found))

    def _group(self, found: Object) -> int:
        shard = labels_of(found).get(SHARD, "")
        return (int(shard) if shard.isdecimal() else 0) % self._settings.groups

    def _changed(self, held: frozenset[int]) -> None:
        _log.info("this replica works on %d of %d parts", len(held), self._settings.groups)
        self._held = held
        self.controller.look_at_all()

    async def _drain(self, group: int) -> None:
        def concerns(name: Name) -> bool:
            action = self.world.action(name)
            return action is None or self._group(action) == group

        await self.controller.drain(concerns)

    def _watch(self) -> None:
        metrics = self.metrics
        metrics.watch("queue_depth", "Attempts that wait for their turn.", lambda: self.controller.depth)
        metrics.watch("parts", "Parts of the work that are this replica's.", lambda: len(self._held))
        metrics.watch_stages(self._stages)
        if (events := self.events) is not None:
            metrics.watch("event_lag_seconds", "Since when the oldest event waits to be sent.", lambda: events.lag)
            metrics.watch("events_waiting", "Events that are not sent yet.", lambda: events.waiting)
            metrics.watch("events_refused", "Events that the control plane did not take.", lambda: events.dropped)

    def _stages(self) -> Mapping[Stage, int]:
        return {stage: self.attempts.stages[stage] for stage in Stage}


class _Nobody:
    """Hears what nobody is told."""

    def tell(self, action: Object, request: Request, state: State) -> None:
        pass

    def forget(self, uid: str) -> None:
        pass


def _events(settings: Manager) -> Events | None:
    if not settings.control_plane:
        return None
    client = EventsProxyServiceClient(settings.control_plane.rstrip("/"))
    return Events(client, settings.cluster, Rhythm(system_clock, steady_clock, _dice))


def _remotes(settings: Manager, offers: Offers) -> list[Remote]:
    found: list[Remote] = []
    for one in remotes(settings, offers, installed(remotes=True)):
        if isinstance(one, str):
            _log.warning("%s", one)
        else:
            found.append(one)
    return found


def _listener(address: str) -> socket.socket | None:
    if not address:
        return None
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, int(port)), family=family, backlog=128)
    except OSError as error:
        raise Unavailable(
            f"{address} cannot be listened on ({error.strerror}): say another with manager.listen"
        ) from None
    listener.setblocking(False)
    return listener
