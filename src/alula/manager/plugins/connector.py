"""Connectors: services that carry out tasks elsewhere, over gRPC (executor.md 4.8). What they are for they say.

A secret is named in the task, read when it is needed, handed to the connector, and kept nowhere.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from flyteidl2.connector import connector_pb2
from flyteidl2.core import execution_pb2, identifier_pb2, security_pb2

from alula.core.errors import Unavailable
from alula.core.taskaction import Cause, Link, Stage, State
from alula.manager.plugins.base import BadTask, Offers, Seen, Task
from alula.manager.remote.calls import Endpoint, Wire, is_gone
from alula.manager.remote.data import inputs, leave
from alula.manager.remote.directory import Category, Directory
from alula.manager.remote.pace import pause

_P = execution_pb2.TaskExecution
_STAGES = {
    _P.UNDEFINED: Stage.INITIALIZING,
    _P.QUEUED: Stage.QUEUED,
    _P.WAITING_FOR_RESOURCES: Stage.WAITING,
    _P.INITIALIZING: Stage.INITIALIZING,
    _P.RUNNING: Stage.RUNNING,
    _P.SUCCEEDED: Stage.SUCCEEDED,
    _P.ABORTED: Stage.FAILED,
    _P.FAILED: Stage.FAILED,
    _P.RETRYABLE_FAILED: Stage.FAILED,
}


@dataclass(frozen=True, slots=True)
class _Handle:
    """A job of a connector: what the connector itself needs to find it, and since when it is there."""

    meta: bytes
    begun: datetime

    def pack(self) -> bytes:
        return json.dumps({"meta": b64encode(self.meta).decode(), "begun": self.begun.isoformat()}).encode()

    @staticmethod
    def unpack(body: bytes) -> "_Handle":
        told = json.loads(body)
        return _Handle(b64decode(told["meta"]), datetime.fromisoformat(told["begun"]))


class ConnectorPlugin:
    """All tasks that a connector says it carries out."""

    def __init__(self, wire: Wire, directory: Directory, offers: Offers) -> None:
        self._wire = wire
        self._directory = directory
        self._store, self._secrets = offers.store, offers.secrets

    async def knows(self, task: Task) -> bool:
        """See `Remote.knows`."""
        found = await self._find(task)
        if found is not None:
            self._wire.check(found)
        return found is not None

    def again(self, task: Task) -> bool:
        """See `Remote.again`."""
        found = self._directory.last(_category(task), task.request.project, task.request.domain)
        return found is not None and found.again

    async def create(self, task: Task, now: datetime) -> bytes:
        """See `Remote.create`."""
        endpoint = await self._endpoint(task)
        request = connector_pb2.CreateTaskRequest(
            inputs=await inputs(task, self._store),
            template=task.template,
            output_prefix=task.request.output_uri,
            task_execution_metadata=_metadata(task),
            connection=await self._connection(task),
        )
        made = await self._wire.begun(endpoint, self._wire.jobs(endpoint).create_task(request))
        return _Handle(made.resource_meta, now).pack()

    async def get(self, task: Task, handle: bytes, now: datetime) -> Seen:
        """See `Remote.get`."""
        job = _Handle.unpack(handle)
        endpoint = await self._endpoint(task)
        request = connector_pb2.GetTaskRequest(
            resource_meta=job.meta,
            task_category=_proto(_category(task)),
            output_prefix=task.request.output_uri,
            connection=await self._connection(task),
        )
        answer = await self._wire.asked(endpoint, self._wire.jobs(endpoint).get_task(request))
        found = answer.resource
        if found.phase == _P.SUCCEEDED and found.outputs.literals:
            await leave(task, self._store, found.outputs)
        return _seen(task, found, job, now)

    async def delete(self, task: Task, handle: bytes, now: datetime) -> None:
        """See `Remote.delete`."""
        if not handle:
            raise BadTask("it may have begun, and the connector has not said what it is called")
        job = _Handle.unpack(handle)
        endpoint = await self._endpoint(task)
        request = connector_pb2.DeleteTaskRequest(
            resource_meta=job.meta, task_category=_proto(_category(task)), connection=await self._connection(task)
        )
        try:
            await self._wire.asked(endpoint, self._wire.jobs(endpoint).delete_task(request))
        except Unavailable as error:
            if not is_gone(error):
                raise

    async def logs(self, task: Task, handle: bytes) -> AsyncIterator[connector_pb2.GetTaskLogsResponseBody]:
        """What a job has logged so far, page by page.

        Raises:
            Unavailable: it is not to be had for now, or the connector has no logs.
        """
        endpoint, token = await self._endpoint(task), ""
        client = self._wire.jobs(endpoint)
        while True:
            request = connector_pb2.GetTaskLogsRequest(
                resource_meta=_Handle.unpack(handle).meta, task_category=_proto(_category(task)), token=token
            )
            before, token = token, ""
            answers = aiter(client.get_task_logs(request))
            while (answer := await self._wire.asked(endpoint, anext(answers, None))) is not None:
                if answer.HasField("body"):
                    yield answer.body
                token = answer.header.token or token
            if not token or token == before:
                return

    async def metrics(
        self, task: Task, handle: bytes, request: connector_pb2.GetTaskMetricsRequest
    ) -> connector_pb2.GetTaskMetricsResponse:
        """What a job has measured; ``request`` says what, and from when to when.

        Raises:
            Unavailable: it is not to be had for now, or the connector has no metrics.
        """
        whole = connector_pb2.GetTaskMetricsRequest()
        whole.CopyFrom(request)
        whole.resource_meta = _Handle.unpack(handle).meta
        whole.task_category.CopyFrom(_proto(_category(task)))
        endpoint = await self._endpoint(task)
        return await self._wire.asked(endpoint, self._wire.jobs(endpoint).get_task_metrics(whole))

    async def _find(self, task: Task) -> Endpoint | None:
        return await self._directory.find(_category(task), task.request.project, task.request.domain)

    async def _endpoint(self, task: Task) -> Endpoint:
        found = await self._find(task)
        if found is None:
            raise Unavailable(f"no connector is there any more for tasks of type {task.template.type!r}")
        self._wire.check(found)
        return found

    async def _connection(self, task: Task) -> security_pb2.Connection:
        """What the task says of its connection, with the secrets that it names."""
        custom = task.custom()
        named, configs = custom.get("secrets") or {}, custom.get("configs") or {}
        if not isinstance(named, dict) or not isinstance(configs, dict):
            raise BadTask("the task's secrets, or configs, are no map")
        values: Mapping[str, str] = {}
        if named:
            values = await self._secrets(task.namespace, task.request.secret) if task.request.secret else {}
        missing = [str(name) for name in named.values() if name not in values]
        if missing:
            raise BadTask(f"the task's connector needs the secret {missing[0]!r}; the task does not ask for it")
        return security_pb2.Connection(
            secrets={key: values[name] for key, name in named.items()},
            configs={key: str(value) for key, value in configs.items()},
        )


def _seen(task: Task, found: connector_pb2.Resource, job: _Handle, now: datetime) -> Seen:
    stage = _STAGES.get(found.phase, Stage.RUNNING)
    links = tuple(Link(log.name, log.uri) for log in found.log_links)
    cause = None
    if stage is Stage.FAILED:
        text = found.message or "the connector says no more than that it failed"
        code = "RemoteJobAborted" if found.phase == _P.ABORTED else "TaskFailedWithError"
        cause = Cause(code, text, recoverable=found.phase == _P.RETRYABLE_FAILED)
    state = State(
        stage=stage,
        reason=found.message,
        cause=cause,
        started_at=job.begun if stage.over or stage is Stage.RUNNING else None,
        ended_at=now if stage.over else None,
        links=links,
    )
    return Seen(state, None if stage.over else now + pause(task.request.name, now - job.begun))


def _category(task: Task) -> Category:
    return task.template.type, task.template.task_type_version


def _proto(category: Category) -> connector_pb2.TaskCategory:
    return connector_pb2.TaskCategory(name=category[0], version=category[1])


def _metadata(task: Task) -> connector_pb2.TaskExecutionMetadata:
    request = task.request
    execution = identifier_pb2.WorkflowExecutionIdentifier(
        project=request.project, domain=request.domain, name=request.run
    )
    node = identifier_pb2.NodeExecutionIdentifier(node_id=request.action, execution_id=execution)
    return connector_pb2.TaskExecutionMetadata(
        task_execution_id=identifier_pb2.TaskExecutionIdentifier(
            task_id=task.template.id, node_execution_id=node, retry_attempt=request.attempt - 1
        ),
        namespace=task.namespace,
        labels=request.labels,
        annotations=request.annotations,
        k8s_service_account=request.service_account,
        environment_variables=request.env,
        max_attempts=request.max_attempts,
        interruptible=request.interruptible,
    )
