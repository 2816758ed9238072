"""The composition root: builds a server from its settings. The one file that imports everybody."""

import asyncio
import contextlib
import json
import os
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from flyteidl2.actions import actions_service_pb2
from flyteidl2.auth import auth_service_pb2, identity_pb2
from flyteidl2.cluster import service_pb2 as cluster_service_pb2
from flyteidl2.dataproxy import dataproxy_service_pb2
from flyteidl2.project import project_service_pb2
from flyteidl2.task import task_service_pb2
from flyteidl2.workflow import (
    events_proxy_service_pb2,
    internal_run_service_pb2,
    queue_service_pb2,
    run_service_pb2,
    state_service_pb2,
)

from alula.api.actions_service import ActionsService
from alula.api.auth_metadata_service import AuthMetadataService
from alula.api.cluster_service import ClusterService
from alula.api.dataproxy_service import DataProxyService, SignFor
from alula.api.door import Check, Guard, Plain
from alula.api.errors import translate
from alula.api.events_proxy_service import EventsProxyService
from alula.api.identity_service import IdentityService
from alula.api.internal_run_service import InternalRunService
from alula.api.objects import ObjectsDoor
from alula.api.project_service import ProjectService
from alula.api.queue_service import QueueService
from alula.api.run_service import RunService
from alula.api.state_service import StateService
from alula.api.task_service import TaskService
from alula.api.validation import validate
from alula.base.clock import system_clock
from alula.base.settings import Settings
from alula.blobs.folder import Folder
from alula.blobs.sigv4 import Credentials, object_url, presign
from alula.blobs.store import Blobs
from alula.blobs.uri import parse
from alula.control.actions import Actions
from alula.control.attempts import Attempts
from alula.control.data import Data, Sign
from alula.control.logs import Logs
from alula.control.projects import Projects
from alula.control.runs import Runs
from alula.control.tasks import Tasks
from alula.core.errors import Conflict, DomainError, NotFound
from alula.core.project import Project
from alula.executors.process.executor import ProcessExecutor
from alula.reconciler.loop import Reconciler
from alula.reconciler.slots import Slots
from alula.reconciler.step import Steps
from alula.rpc.app import App
from alula.rpc.health import Health
from alula.rpc.reflection import reflection
from alula.rpc.server import Server
from alula.rpc.service import Service
from alula.storage import heartbeat
from alula.storage.changes import Changes
from alula.storage.database import Database, connect
from alula.storage.migrate import migrate

BUCKET = "alula"


@dataclass(frozen=True, slots=True)
class Control:
    """The verbs, together."""

    projects: Projects
    tasks: Tasks
    actions: Actions
    attempts: Attempts
    runs: Runs
    data: Data
    logs: Logs


async def serve(
    settings: Settings, listeners: list[socket.socket], started: asyncio.Event, stop: asyncio.Event
) -> None:
    """Serve until ``stop`` is set; ``started`` is set once requests are answered.

    Raises:
        Conflict: the database is of a newer version.
        Unavailable: another server uses this home, or its disk cannot be written.
    """
    home = settings.home
    connection = connect(home / "alula.db")
    migrate(connection)
    connection.close()
    changes = Changes()
    folder = Folder(home / "objects", BUCKET)
    blobs = Blobs(folder)
    credentials = _credentials(home / "keys.json")
    executor = ProcessExecutor(home / "executor", mode=settings.mode, fetch=_reader(blobs))
    async with Database(home / "alula.db", changes) as database, executor:
        control = _control(settings, database, changes, blobs, executor)
        await _seed(settings, control)
        surroundings = _surroundings(settings.ports[0], credentials)
        steps = Steps(control.attempts, executor, blobs, Slots(settings.slots), system_clock, surroundings)
        reconciler = Reconciler(control.attempts, executor, changes, steps)
        objects = ObjectsDoor(folder, credentials, system_clock)
        objects.sweep()
        plain = Plain(objects, _readiness(database, blobs))
        application = _application(settings, control, _signer(blobs, credentials), plain)
        server = Server(application, listeners, front=Guard(application))
        async with _beside(reconciler, stop):
            serving = asyncio.create_task(server.run(stop))
            started.set()
            await serving


@asynccontextmanager
async def _beside(reconciler: Reconciler, stop: asyncio.Event) -> AsyncIterator[None]:
    """Run the reconciler beside the block; should it fail, stop everything and say why."""
    task = asyncio.create_task(reconciler.run())
    task.add_done_callback(lambda _: stop.set())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _control(
    settings: Settings, database: Database, changes: Changes, blobs: Blobs, executor: ProcessExecutor
) -> Control:
    projects = Projects(database, system_clock, settings.domains, settings.create_missing)
    tasks = Tasks(database, system_clock)
    actions = Actions(database, changes, system_clock)
    return Control(
        projects=projects,
        tasks=tasks,
        actions=actions,
        attempts=Attempts(database, system_clock),
        runs=Runs(database, changes, blobs, projects, tasks, system_clock),
        data=Data(blobs, actions, projects, tasks, system_clock),
        logs=Logs(actions, executor),
    )


async def _seed(settings: Settings, control: Control) -> None:
    try:
        await control.projects.get(settings.project)
    except NotFound:
        await control.projects.create(Project(settings.project, settings.project, "", {}, 0))


def _application(settings: Settings, control: Control, sign_for: SignFor, plain: Plain) -> App:
    services = [
        *_workflow_services(control),
        Service(
            dataproxy_service_pb2.DESCRIPTOR.services_by_name["DataProxyService"],
            DataProxyService(control.data, control.logs, sign_for),
        ),
        Service(cluster_service_pb2.DESCRIPTOR.services_by_name["ClusterService"], ClusterService()),
        Service(
            task_service_pb2.DESCRIPTOR.services_by_name["TaskService"], TaskService(control.tasks, control.projects)
        ),
        Service(project_service_pb2.DESCRIPTOR.services_by_name["ProjectService"], ProjectService(control.projects)),
        Service(identity_pb2.DESCRIPTOR.services_by_name["IdentityService"], IdentityService(settings.user)),
        Service(auth_service_pb2.DESCRIPTOR.services_by_name["AuthMetadataService"], AuthMetadataService()),
    ]
    services.append(Health(service.descriptor.full_name for service in services).service())
    return App([*services, *reflection(services)], fallback=plain, translate=translate, check=validate)


def _workflow_services(control: Control) -> list[Service]:
    return [
        Service(
            run_service_pb2.DESCRIPTOR.services_by_name["RunService"],
            RunService(control.runs, control.actions, control.data),
        ),
        Service(
            internal_run_service_pb2.DESCRIPTOR.services_by_name["InternalRunService"],
            InternalRunService(control.actions, control.attempts),
        ),
        Service(
            events_proxy_service_pb2.DESCRIPTOR.services_by_name["EventsProxyService"],
            EventsProxyService(control.attempts),
        ),
        Service(
            actions_service_pb2.DESCRIPTOR.services_by_name["ActionsService"],
            ActionsService(control.actions, control.data),
        ),
        Service(
            queue_service_pb2.DESCRIPTOR.services_by_name["QueueService"], QueueService(control.actions, control.data)
        ),
        Service(state_service_pb2.DESCRIPTOR.services_by_name["StateService"], StateService(control.actions)),
    ]


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


def _signer(blobs: Blobs, credentials: Credentials) -> SignFor:
    def sign_for(host: str) -> Sign:
        def sign(method: str, uri: str, expires: timedelta, headers: dict[str, str]) -> str:
            url = object_url(f"http://{host}", blobs.bucket, parse(uri, blobs.bucket))
            seconds = int(expires.total_seconds())
            return presign(method, url, credentials, expires=seconds, now=system_clock(), headers=headers)

        return sign

    return sign_for


def _surroundings(port: int, credentials: Credentials) -> Mapping[str, str]:
    """How a task reaches this server (sdk-contract.md 1.6, 4.3). Tasks of this server send no telemetry."""
    endpoint = f"localhost:{port}"
    return {
        "_U_EP_OVERRIDE": endpoint,
        "_U_INSECURE": "true",
        "_U_USE_ACTIONS": "1",
        "FLYTE_AWS_ENDPOINT": f"http://{endpoint}",
        "FLYTE_AWS_ACCESS_KEY_ID": credentials.key_id,
        "FLYTE_AWS_SECRET_ACCESS_KEY": credentials.secret,
        "AWS_REGION": credentials.region,
        "AWS_ENDPOINT_URL": f"http://{endpoint}",
        "AWS_ACCESS_KEY_ID": credentials.key_id,
        "AWS_SECRET_ACCESS_KEY": credentials.secret,
        "FLYTE_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
    }


def _credentials(path: Path) -> Credentials:
    """The keys of the embedded store: made once, readable by their owner only.

    Raises:
        Conflict: the file holds something else.
    """
    if not path.exists():
        keys = {"key_id": secrets.token_hex(10), "secret": secrets.token_urlsafe(30)}
        new = path.with_suffix(".new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(keys, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    try:
        return Credentials(**json.loads(path.read_text()))
    except (ValueError, TypeError):
        raise Conflict(
            f"{path} does not hold this server's keys: put it back, or name another folder with --home"
        ) from None
