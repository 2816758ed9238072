"""The process that is an attempt of a connector's task, on a machine without a Manager.

It has the connector begin the job, says what becomes of it, and leaves the attempt's outputs or its error; told to end,
it has the job ended. It outlives the server as other attempts do. Which attempt it is: `wire.jobs.JOB`.
"""

import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import TypeVar

from flyte import storage
from flyteidl2.app import app_definition_pb2, app_payload_pb2, app_service_pb2
from flyteidl2.core import tasks_pb2

from alula.base.clock import system_clock
from alula.cli.connect import CallFailed, Connect
from alula.copilot import steps
from alula.core.errors import Exhausted, NotFound, Unavailable
from alula.core.taskaction import Cause, Request, Stage, State
from alula.core.taskspec import read_request
from alula.manager.plugins.base import BadTask, Failed, Offers, Task, Unsure
from alula.manager.plugins.connector import ConnectorPlugin
from alula.manager.podspec.settings import PodSettings
from alula.manager.remote.calls import Endpoint, Wire
from alula.manager.remote.directory import Directory
from alula.wire.jobs import CONNECTORS, JOB

_PAUSE = 2.0  # seconds before who does not answer is asked again
_ENDING = 4.0  # seconds that a connector has to end a job, of the attempt's grace
_PAGE = 200  # apps
_FAILED, _STOPPED = 1, 143
_CONNECTOR = "connector"  # the SDK's type of an app that serves some (flyte/app/_connector_environment.py)

_Answer = TypeVar("_Answer")


class Objects:
    """The object store, as tasks reach it."""

    async def get(self, uri: str, *, limit: int = sys.maxsize) -> bytes:
        """See `manager.plugins.base.Store`."""
        found = bytearray()
        try:
            async for block in storage.get_stream(uri):
                found += block
                if len(found) > limit:
                    raise Exhausted(f"{uri} has more than {limit} bytes")
        except FileNotFoundError:
            raise NotFound(f"{uri} is not there") from None
        except OSError as error:
            raise Unavailable(f"{uri} cannot be read for now: {error}") from error
        return bytes(found)

    async def put(self, uri: str, data: bytes) -> None:
        """See `manager.plugins.base.Store`."""
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            try:
                await storage.put(file.name, uri)
            except OSError as error:
                raise Unavailable(f"{uri} cannot be written for now: {error}") from error


class Patience:
    """With those who do not answer: how long that may take is the task's to say."""

    def __init__(self) -> None:
        self._said = ""

    async def with_(self, call: Callable[[], Awaitable[_Answer]]) -> _Answer:
        """The answer, as soon as there is one."""
        while True:
            try:
                return await call()
            except Unavailable as error:
                self.say(str(error))
                await asyncio.sleep(_PAUSE)

    def say(self, text: str) -> None:
        """Print it, once."""
        if text != self._said:
            self._said = text
            print(text, flush=True)


class Job:
    """One job, from its beginning to its end."""

    def __init__(self, remote: ConnectorPlugin, task: Task, patience: Patience) -> None:
        self._remote, self._task = remote, task
        self._patiently, self._say = patience.with_, patience.say
        self._lines = 0  # of its log that were printed

    async def run(self) -> State:
        """How it ended. Cancelled, it has the job ended first.

        Raises:
            Failed: it never began.
            BadTask: it never can, or its outputs cannot be kept.
        """
        if not await self._patiently(lambda: self._remote.knows(self._task)):
            raise BadTask(_unknown(self._task), code="PluginNotFound")
        handle = await self._patiently(lambda: self._remote.create(self._task, system_clock()))
        try:
            return await self._followed(handle)
        except (asyncio.CancelledError, BadTask):
            await self._ended(handle)
            raise

    async def _followed(self, handle: bytes) -> State:
        while True:
            seen = await self._patiently(lambda: self._remote.get(self._task, handle, system_clock()))
            await self._log(handle)
            if seen.state.reason:
                self._say(seen.state.reason)
            if seen.state.stage.over:
                return seen.state
            assert seen.look_again is not None, "nobody tells of a job's changes"
            await asyncio.sleep((seen.look_again - system_clock()).total_seconds())

    async def _ended(self, handle: bytes) -> None:
        try:
            async with asyncio.timeout(_ENDING):
                await self._patiently(lambda: self._remote.delete(self._task, handle, system_clock()))
        except (TimeoutError, BadTask) as error:
            self._say(f"the job may run on: it could not be ended ({error or 'no answer'})")

    async def _log(self, handle: bytes) -> None:
        """Print what the job has logged since; connectors need not have logs."""
        seen = 0
        with suppress(Unavailable):
            async for page in self._remote.logs(self._task, handle):
                for line in page.lines:
                    seen += 1
                    if seen > self._lines:
                        print(line.message, flush=True)
        self._lines = max(self._lines, seen)


async def _endpoints(environment: Mapping[str, str], request: Request) -> list[Endpoint]:
    """The connectors of the settings, and those that are served as apps of the attempt's project and domain.

    Raises:
        Unavailable: the server does not say which there are.
    """
    found = [Endpoint(**one) for one in json.loads(environment.get(CONNECTORS, "[]"))]
    scheme = "http" if environment.get("_U_INSECURE", "true").lower() == "true" else "https"
    listing = app_payload_pb2.ListRequest()
    listing.request.limit = _PAGE
    listing.project.name, listing.project.domain = request.project, request.domain
    method = app_service_pb2.DESCRIPTOR.services_by_name["AppService"].methods_by_name["List"]
    async with Connect(f"{scheme}://{environment['_U_EP_OVERRIDE'].removeprefix('dns:///')}") as server:
        while True:
            try:
                listed = await server.call(method, listing)
            except CallFailed as error:
                raise Unavailable(f"the server does not say which connectors there are: {error}") from error
            found += [Endpoint(one.status.ingress.public_url) for one in listed.apps if _serves(one)]
            if not listed.token:
                return found
            listing.request.token = listed.token


def _serves(app: app_definition_pb2.App) -> bool:
    return (
        app.spec.profile.type == _CONNECTOR and app.spec.desired_state != app_definition_pb2.Spec.DESIRED_STATE_STOPPED
    )


async def _state(request: Request) -> State:
    """Carry the attempt out; how it ended."""
    task = Task(request, tasks_pb2.TaskTemplate.FromString(request.template), "", PodSettings())
    values = {name: os.environ[name] for name in request.secret_env if name in os.environ}

    async def secrets(_: str, __: str) -> Mapping[str, str]:
        return values

    patience = Patience()
    endpoints = await patience.with_(lambda: _endpoints(os.environ, request))
    wire = Wire(time.monotonic)
    offers = Offers(Objects(), secrets, time.monotonic)
    remote = ConnectorPlugin(wire, Directory(wire, endpoints, time.monotonic), offers)
    running = asyncio.ensure_future(Job(remote, task, patience).run())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    return await running


def _unknown(task: Task) -> str:
    kind = task.template.type
    text = f"task type {kind!r} has no container with a command, and no connector says that it carries it out: "
    return text + "serve one (flyte.app.ConnectorEnvironment), or name one in executor.connectors"


def _cause(request: Request) -> Cause | None:
    """Why the attempt failed; ``None``: it succeeded."""
    try:
        state = asyncio.run(_state(request))
    except Failed as failure:
        return failure.cause
    except BadTask as error:
        return Cause(error.code, str(error), recoverable=False)
    except Unsure as error:
        return Cause("ConnectorUnsure", f"it is not known whether the job was begun: {error}")
    return state.cause if state.stage is not Stage.SUCCEEDED else None


def main() -> None:
    """Carry out the attempt of the environment, and end as it ends."""
    request = read_request(json.loads(os.environ.pop(JOB)))
    try:
        cause = _cause(request)
    except asyncio.CancelledError:
        sys.exit(_STOPPED)
    if cause is not None:
        print(f"{cause.code}: {cause.message}", file=sys.stderr, flush=True)
        steps.tell(steps.Failed(cause.code, cause.message, again=cause.recoverable), request.output_uri)
        sys.exit(_FAILED)
