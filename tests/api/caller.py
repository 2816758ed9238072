"""Short ways to ask a server: specs, requests and the questions that every test asks."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
from connectrpc.code import Code
from connectrpc.errors import ConnectError
from flyteidl2.actions.actions_service_connect import ActionsServiceClient
from flyteidl2.common import identifier_pb2
from flyteidl2.dataproxy import dataproxy_service_pb2 as dataproxy
from flyteidl2.dataproxy.dataproxy_service_connect import DataProxyServiceClient
from flyteidl2.logs.dataplane import payload_pb2
from flyteidl2.project.project_service_connect import ProjectServiceClient
from flyteidl2.task import task_definition_pb2
from flyteidl2.task.task_service_connect import TaskServiceClient
from flyteidl2.workflow import run_definition_pb2 as definition
from flyteidl2.workflow import run_service_pb2 as rpc
from flyteidl2.workflow.run_service_connect import RunServiceClient

PROJECT, DOMAIN = "flytesnacks", "development"
QUEUED, RUNNING, SUCCEEDED, FAILED, ABORTED = 1, 4, 5, 6, 7
TERMINAL = {SUCCEEDED, FAILED, ABORTED, 8, 10}
M = TypeVar("M")


def spec(*args: str, name: str = "probe", retries: int = 0, image: str = "python:3.9") -> task_definition_pb2.TaskSpec:
    """A container task with these arguments and no command."""
    made = task_definition_pb2.TaskSpec(short_name=name)
    template = made.task_template
    template.type = "container"
    template.id.name = name
    template.container.image = image
    template.container.args.extend(args)
    template.metadata.retries.retries = retries
    return made


def python(code: str, *args: str, retries: int = 0) -> task_definition_pb2.TaskSpec:
    """A container task that runs Python code."""
    return spec("python", "-c", code, *args, retries=retries)


def gated(gate: Path, before: str = "", after: str = "") -> task_definition_pb2.TaskSpec:
    """A task that says "at the gate" and waits there until the file exists."""
    return python(
        f"import os, time\n{before}\nprint('at the gate', flush=True)\n"
        f"while not os.path.exists({str(gate)!r}): time.sleep(0.01)\n{after}"
    )


def run_id(name: str, project: str = PROJECT, domain: str = DOMAIN, org: str = "") -> identifier_pb2.RunIdentifier:
    return identifier_pb2.RunIdentifier(org=org, project=project, domain=domain, name=name)


def action_id(run: identifier_pb2.RunIdentifier, name: str = "a0") -> identifier_pb2.ActionIdentifier:
    return identifier_pb2.ActionIdentifier(run=run, name=name)


def creation(
    task: task_definition_pb2.TaskSpec, name: str = "", project: str = PROJECT, **fields: Any
) -> rpc.CreateRunRequest:
    """A request for a run: with a name of its own, or with one that the server is to invent."""
    request = rpc.CreateRunRequest(task_spec=task, **fields)
    if name:
        request.run_id.CopyFrom(run_id(name, project))
    else:
        request.project_id.name, request.project_id.domain = project, DOMAIN
    return request


@contextmanager
def refused(code: Code, *words: str) -> Iterator[None]:
    """What is inside is refused with this code, and the message has these words."""
    with pytest.raises(ConnectError) as caught:
        yield
    assert caught.value.code == code, caught.value.message
    for word in words:
        assert word in caught.value.message


async def until(stream: AsyncIterator[M], met: Callable[[M], bool] = bool) -> M:
    """Read a stream up to the first message that is as wanted, and leave it."""
    async with asyncio.timeout(30), aclosing(cast("AsyncGenerator[M]", stream)):
        async for message in stream:
            if met(message):
                return message
    raise AssertionError("the stream ended, and nothing in it was as wanted")


class Caller:
    """The clients of one server."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.runs = RunServiceClient(url)
        self.actions = ActionsServiceClient(url)
        self.data = DataProxyServiceClient(url)
        self.tasks = TaskServiceClient(url)
        self.projects = ProjectServiceClient(url)

    async def start(self, task: task_definition_pb2.TaskSpec, **options: Any) -> identifier_pb2.ActionIdentifier:
        """Create a run; its root action."""
        response = await self.runs.create_run(creation(task, **options))
        return response.run.action.id

    async def ended(self, action: identifier_pb2.ActionIdentifier, seconds: float = 30) -> definition.ActionDetails:
        """Watch an action to its end; the last that was told of it."""
        last = definition.ActionDetails()
        async with asyncio.timeout(seconds):
            async for message in self.runs.watch_action_details(rpc.WatchActionDetailsRequest(action_id=action)):
                last = message.details
        return last

    async def reached(self, action: identifier_pb2.ActionIdentifier, phase: int) -> definition.ActionDetails:
        """Watch an action until it is in a phase."""
        stream = self.runs.watch_action_details(rpc.WatchActionDetailsRequest(action_id=action))
        return (await until(stream, lambda message: message.details.status.phase == phase)).details

    async def details(self, action: identifier_pb2.ActionIdentifier) -> definition.ActionDetails:
        return (await self.runs.get_action_details(rpc.GetActionDetailsRequest(action_id=action))).details

    async def log(self, action: identifier_pb2.ActionIdentifier, attempt: int = 1, seconds: float = 30) -> str:
        """What an attempt printed, to its end."""
        async with asyncio.timeout(seconds):
            return "".join([printed(m) async for m in self.data.tail_logs(_tail(action, attempt))])

    async def says(self, action: identifier_pb2.ActionIdentifier, text: str, attempt: int = 1) -> None:
        """Follow an attempt's log until it has said something."""
        said = ""

        def heard(message: dataproxy.TailLogsResponse) -> bool:
            nonlocal said
            said += printed(message)
            return text in said

        await until(self.data.tail_logs(_tail(action, attempt)), heard)

    async def finished(self, task: task_definition_pb2.TaskSpec, **options: Any) -> definition.ActionDetails:
        """Run a task to its end."""
        return await self.ended(await self.start(task, **options))


def _tail(action: identifier_pb2.ActionIdentifier, attempt: int) -> dataproxy.TailLogsRequest:
    return dataproxy.TailLogsRequest(action_id=action, attempt=attempt)


def printed(message: dataproxy.TailLogsResponse) -> str:
    """What the task printed, without what the system says of it."""
    return "".join(
        line.message for batch in message.logs for line in batch.lines if line.originator == payload_pb2.USER
    )
