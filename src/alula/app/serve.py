"""Start everything that a server is made of, and run it until it is told to stop."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from alula.api.apps_proxy import AppsProxy
from alula.api.deletions import PREFIX as DELETIONS
from alula.api.deletions import Deletions
from alula.api.door import Check, Guard, Plain
from alula.api.objects import ObjectsDoor
from alula.app.control import Control, build_control
from alula.app.keys import cipher, credentials, signer, surroundings
from alula.app.services import application
from alula.app.telling import callbacks, outbox
from alula.base.clock import system_clock
from alula.base.settings import Settings
from alula.blobs.folder import Folder
from alula.blobs.store import Blobs
from alula.control.app_logs import AppLogs
from alula.control.traffic import Traffic
from alula.core import callback
from alula.core.errors import DomainError, NotFound
from alula.core.project import Project
from alula.executors.process.apps import AppProcesses
from alula.executors.process.executor import ProcessExecutor
from alula.reconciler.apps import AppLoop
from alula.reconciler.loop import Reconciler
from alula.reconciler.slots import Slots
from alula.reconciler.step import Steps, Verbs
from alula.rpc.server import Server
from alula.scheduler.loop import Scheduler
from alula.storage import heartbeat
from alula.storage.address import SqliteFile
from alula.storage.changes import Changes
from alula.storage.database import Database
from alula.wire.apps import Place

BUCKET = "alula"
Loop = Callable[[], Awaitable[None]]


async def serve(
    settings: Settings, listeners: list[socket.socket], started: asyncio.Event, stop: asyncio.Event
) -> None:
    """Serve until ``stop`` is set; ``started`` is set once requests are answered.

    Raises:
        Conflict: the database is of a newer version.
        Unavailable: another server uses this home, or its disk cannot be written.
    """
    home = settings.home
    address = SqliteFile(home / "alula.db")
    await address.migrate()
    changes = Changes()
    folder = Folder(home / "objects", BUCKET)
    blobs = Blobs(folder)
    keys = credentials(home / "keys.json")
    executor = ProcessExecutor(home / "executor", mode=settings.mode, fetch=_reader(blobs))
    processes = AppProcesses(home / "apps")
    async with address.database(changes) as database, executor, processes:
        control = build_control(settings, database, changes, blobs, executor, cipher(home))
        await _seed(settings, control)
        around = surroundings(settings.ports[0], keys)
        verbs = Verbs(control.attempts, control.caching, control.artifacts)
        steps = Steps(verbs, executor, blobs, Slots(settings.slots, settings.queues), system_clock, around)
        reconciler = Reconciler(control.attempts, executor, changes, steps)
        scheduler = Scheduler(control.fires, changes, system_clock)
        objects = ObjectsDoor(folder, keys, system_clock)
        objects.sweep()
        traffic = Traffic()
        place = Place(around, settings.ports[0], blobs.join("apps"))
        app_loop = AppLoop(control.serving, traffic, processes, place)
        app_logs = AppLogs(control.apps, control.serving, processes)
        doors = {DELETIONS: Deletions(control.retention), callback.PATH: callbacks(control.conditions, keys.secret)}
        plain = Plain(objects, _readiness(database, blobs), doors)
        app = application(settings, control, app_logs, signer(blobs, keys), plain)
        server = Server(app, listeners, front=Guard(app, AppsProxy(control.apps, traffic, settings.ports[0])))
        telling = outbox(settings, database, changes, keys.secret)
        async with _beside([control.retention.run, reconciler.run, scheduler.run, app_loop.run, telling.run], stop):
            serving = asyncio.create_task(server.run(stop))
            started.set()
            await serving


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


async def _seed(settings: Settings, control: Control) -> None:
    await control.domains.seed(settings.domains)
    try:
        await control.projects.get(settings.project)
    except NotFound:
        await control.projects.create(Project(settings.project, settings.project, "", {}, 0))


def _reader(blobs: Blobs) -> Callable[[str], Awaitable[bytes | None]]:
    async def read(uri: str) -> bytes | None:
        try:
            return await blobs.get(uri)
        except DomainError:
            return None  # the attempt downloads its own

    return read


def _readiness(database: Database, blobs: Blobs) -> Check:
    async def ready() -> None:
        await database.write(lambda tx: heartbeat.write(tx, system_clock()))
        await blobs.ping()

    return ready
