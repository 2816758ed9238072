"""Start what a server is made of, as far as its roles ask for it, and run it until it is told to stop."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

from alula.api.apps_proxy import AppsProxy
from alula.api.deletions import PREFIX as DELETIONS
from alula.api.deletions import Deletions
from alula.api.door import Guard, Plain
from alula.api.metrics import PATH as METRICS
from alula.api.metrics import Metrics
from alula.api.objects import ObjectsDoor
from alula.api.usage import PREFIX as USAGE
from alula.api.usage import UsageDoor
from alula.app.admission import admission_rules, queues
from alula.app.control import Control, build_control
from alula.app.destinations import destinations
from alula.app.executor import environments, executing
from alula.app.keys import signer, surroundings
from alula.app.replica import absent, app_loop, led, member
from alula.app.services import application
from alula.app.stores import Stores, opened
from alula.app.telling import callbacks, outbox
from alula.base.clock import steady_clock, system_clock
from alula.base.settings import Settings
from alula.base.telemetry import Telemetry
from alula.control.app_logs import AppLogs
from alula.control.archive import Archive
from alula.control.attempts import Attempts
from alula.control.traffic import Traffic
from alula.control.usage import Usages
from alula.core import callback
from alula.core.errors import AlreadyExists, NotFound
from alula.core.lease import APPS, RETENTION
from alula.core.project import Project
from alula.executors.base import Executor
from alula.executors.process.apps import AppProcesses
from alula.executors.process.measurements import Measurements
from alula.executors.process.records import Home
from alula.executors.process.segments import Segments
from alula.executors.process.shelf import Shelf
from alula.executors.routed import EveryLog, RoutedExecutor
from alula.reconciler.admission import Admission
from alula.reconciler.archive import Archiver
from alula.reconciler.lease import ALONE, Alone, Leases, singly
from alula.reconciler.loop import Reconciler
from alula.reconciler.places import Places
from alula.reconciler.slots import Slots
from alula.reconciler.step import Steps, Verbs
from alula.rpc.app import App
from alula.rpc.asgi import Asgi
from alula.rpc.health import Health
from alula.rpc.server import Server
from alula.scheduler.loop import Scheduler
from alula.storage.changes import Changes, everything
from alula.wire.apps import Place

_MIB = 1024 * 1024
_ENDLESS = 1 << 60  # places; clusters have their own

Loop = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Parts:
    """What the roles are built from. ``executor`` and ``processes`` are there if a role runs something."""

    settings: Settings
    stores: Stores
    holding: Leases | Alone
    control: Control
    executor: Executor | None
    processes: AppProcesses | None
    traffic: Traffic
    telemetry: Telemetry


async def serve(
    settings: Settings, listeners: list[socket.socket], started: asyncio.Event, stop: asyncio.Event
) -> None:
    """Serve until ``stop`` is set; ``started`` is set once requests are answered.

    Raises:
        Conflict: the database is of another version.
        Unavailable: another server uses this home, its disk cannot be written, or the database cannot be reached.
    """
    async with _built(settings) as parts:
        loops = [*_loops(parts)]
        server = _server(parts, listeners)
        async with _beside(loops, stop):
            serving = asyncio.create_task(server.run(stop))
            started.set()
            await serving


@asynccontextmanager
async def _built(settings: Settings) -> AsyncIterator[Parts]:
    roles = settings.server.roles
    async with AsyncExitStack() as stack:
        stores = await stack.enter_async_context(opened(settings))
        holding: Leases | Alone = ALONE
        if settings.shared:  # left last: until its attempts are ended, nobody else begins them again
            me = Leases(stores.database, stores.changes, member(settings), steady_clock)
            holding = await stack.enter_async_context(me)
        images = await stack.enter_async_context(environments(settings, stores.blobs))
        executor: Executor | None = None
        processes: AppProcesses | None = None
        if "reconciler" in roles:
            executor = await stack.enter_async_context(executing(settings, stores, images))
        if "apps" in roles:
            processes = await stack.enter_async_context(AppProcesses(settings.private / "apps", images))
        archive = Archive(stores.blobs)
        own: Executor | EveryLog | None = executor
        if settings.clusters and ("reconciler" in roles or "api" in roles):
            from alula.app.clusters import clusters  # what speaks to clusters takes a while to load, and most have none

            there = await stack.enter_async_context(clusters(settings, stores, archive, holding.has))
            routed = await stack.enter_async_context(RoutedExecutor(executor, there))
            executor, own = (None if executor is None else routed), EveryLog(routed)
        logs = Shelf(settings.home, "executor", own, shared=settings.shared, archive=archive)
        control = build_control(settings, stores.database, stores.changes, stores.blobs, logs, stores.cipher)
        await _seed(settings, control)
        yield Parts(settings, stores, holding, control, executor, processes, Traffic(), Telemetry())


def _loops(parts: Parts) -> Sequence[Loop]:
    """What runs beside the answering of requests."""
    settings, stores, control, holding = parts.settings, parts.stores, parts.control, parts.holding
    roles = settings.server.roles
    loops: list[Loop] = [partial(_count, stores.changes, parts.telemetry)]
    reconciler = _reconciler(parts) if parts.executor is not None else None
    if reconciler is not None:
        loops.append(reconciler.run)
        logs, size = Segments(Home(settings.private / "executor")), settings.executor.logs_size * _MIB
        loops.append(Archiver(logs, Archive(stores.blobs), stores.changes, size).run)
    if isinstance(holding, Leases):
        loops.append(partial(holding.run, tuple if reconciler is None else reconciler.busy))
    if "scheduler" in roles:
        loops.append(Scheduler(control.fires, stores.changes, system_clock).run)
    if "notifier" in roles:
        loops.append(outbox(settings, stores.database, stores.changes, stores.keys.secret).run)
    if "retention" in roles:
        loops.append(partial(singly, holding, RETENTION, control.retention.run))
    if parts.processes is not None:
        place = Place(surroundings(settings, stores.account), settings.server.port, stores.blobs.join("apps"))
        work = partial(app_loop, control.serving, parts.traffic, parts.processes, place)
        loops.append(partial(singly, holding, APPS, work))
    return loops


def _reconciler(parts: Parts) -> Reconciler:
    settings, stores, control, holding = parts.settings, parts.stores, parts.control, parts.holding
    assert parts.executor is not None, "a reconciler has an executor"
    fence = holding.fence if isinstance(holding, Leases) else None
    attempts = Attempts(stores.database, system_clock, control.secrets, fence)
    verbs = Verbs(attempts, control.caching, control.artifacts)
    rules = admission_rules(settings)
    limits = queues(settings)
    slots = Slots(settings.executor.slots, limits, rules.machine)
    parts.telemetry.watch("alula_attempts_running", "Attempts that have a place.", slots.taken)
    parts.telemetry.watch("alula_attempts_waiting", "Attempts that wait for a place.", slots.waiting)
    to = destinations(settings, stores)
    if isinstance(parts.executor, RoutedExecutor):
        to = replace(to, ask=parts.executor.ask)
    here = Admission(attempts, slots, rules, system_clock)
    away = Admission(attempts, Slots(_ENDLESS, limits), replace(rules, counted=False), system_clock)
    steps = Steps(verbs, parts.executor, stores.blobs, Places(here, away, to), system_clock, to)
    return Reconciler(attempts, parts.executor, stores.changes, steps, holding)


def _server(parts: Parts, listeners: list[socket.socket]) -> Server:
    settings, stores, control = parts.settings, parts.stores, parts.control
    names = settings.server.names
    if "api" not in settings.server.roles:
        app = App(
            [Health([]).service()], fallback=Plain(absent("api"), stores.check, {METRICS: Metrics(parts.telemetry)})
        )
        return Server(app, listeners, front=Guard(app, absent("apps"), names))
    objects: Asgi = absent("objects")
    if stores.folder is not None:
        objects = door = ObjectsDoor(stores.folder, stores.keys, system_clock)
        if not settings.shared:  # else it would take away what other replicas are about to write
            door.sweep()
    secret = stores.keys.secret
    doors: dict[str, Asgi] = {
        DELETIONS: Deletions(control.retention),
        METRICS: Metrics(parts.telemetry),
        USAGE: UsageDoor(Usages(control.actions, Measurements(settings.home, "executor"))),
        callback.PATH: callbacks(control.conditions, secret),
    }
    plain = Plain(objects, stores.check, doors)
    kept = Shelf(settings.home, "apps", parts.processes, shared=settings.shared)
    app_logs = AppLogs(control.apps, control.serving, kept)
    sign_for = signer(stores.blobs, stores.account, settings)
    app = application(settings, control, app_logs, sign_for, plain, parts.telemetry)
    apps = led(AppsProxy(control.apps, parts.traffic, settings.server.port), parts.holding)
    return Server(app, listeners, front=Guard(app, apps, names))


@asynccontextmanager
async def _beside(loops: Sequence[Loop], stop: asyncio.Event) -> AsyncIterator[None]:
    """Run the loops beside the block; should one fail, stop everything and say why."""
    tasks = [asyncio.ensure_future(loop()) for loop in loops]
    for task in tasks:
        task.add_done_callback(lambda _: stop.set())
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        for error in ended:
            if isinstance(error, Exception):
                raise error


async def _count(changes: Changes, telemetry: Telemetry) -> None:
    """Count what becomes of actions, for ever."""
    with changes.watch(everything()) as changed:
        while True:
            for change in await changed.next() or ():
                telemetry.moved(change.phase.name.lower())


async def _seed(settings: Settings, control: Control) -> None:
    await control.domains.seed(settings.projects.domains)
    await control.images.prepare()
    name = settings.projects.default
    try:
        await control.projects.get(name)
    except NotFound:
        try:
            await control.projects.create(Project(name, name, "", {}, 0))
        except AlreadyExists:
            return  # another replica was faster
