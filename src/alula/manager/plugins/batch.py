"""AWS Batch: a job for each attempt, in a queue that somebody else looks after. It needs ``alula[batch]``.

Batch takes no token that makes a submission happen once. A job is found again by its name, which is its attempt's; a
call is given up after some seconds and never repeated before the job was looked for.
"""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
)

from alula.core.errors import Unavailable
from alula.core.taskaction import Cause, Stage, State
from alula.manager.plugins.base import Failed, Seen, Task, Unsure
from alula.manager.remote.batch import Asked, asked, job_name, state
from alula.manager.remote.pace import pause
from alula.manager.settings import Batch

_TYPE = "aws-batch"
_PATIENCE = 10.0  # seconds for one call
_REASON = "its action was aborted"
_LATER = frozenset({"ServerException", "Throttling", "ThrottlingException", "TooManyRequestsException"})
_RIGHTS = frozenset({"AccessDeniedException", "UnrecognizedClientException", "ExpiredTokenException"})
_NOT_SENT = (EndpointConnectionError, ConnectTimeoutError, NoCredentialsError)
_SLOWEST = timedelta(minutes=5)  # a job that has not begun for that long is looked at as rarely as can be


def client(settings: Batch) -> Any:
    """A client of the service; its credentials are found by the AWS SDK."""
    config = Config(connect_timeout=_PATIENCE, read_timeout=_PATIENCE, retries={"total_max_attempts": 1})
    return boto3.client("batch", region_name=settings.region, endpoint_url=settings.endpoint or None, config=config)


class BatchPlugin:
    """``client`` is one of boto3's: it is called in threads."""

    def __init__(self, client: Any, settings: Batch) -> None:
        self._client = client
        self._settings = settings
        self._definitions: dict[str, str] = {}  # by their names

    async def knows(self, task: Task) -> bool:
        """See `Remote.knows`."""
        return task.template.type == _TYPE

    def again(self, task: Task) -> bool:
        """See `Remote.again`. A job is found by its name."""
        return True

    async def create(self, task: Task, now: datetime) -> bytes:
        """See `Remote.create`."""
        wanted = asked(task, self._settings)
        found = await self._found(wanted.name, wanted.queue)
        return (found or await self._submitted(wanted)).encode()

    async def get(self, task: Task, handle: bytes, now: datetime) -> Seen:
        """See `Remote.get`."""
        jobs = (await self._asked("describe_jobs", jobs=[handle.decode()]))["jobs"]
        if not jobs:
            text = "AWS Batch knows nothing of its job any more"
            return Seen(State(Stage.FAILED, text, Cause("ResourceDeletedExternally", text, system=True), ended_at=now))
        seen = state(jobs[0], self._settings.region)
        age = now - seen.started_at if seen.started_at is not None else _SLOWEST
        return Seen(seen, None if seen.stage.over else now + pause(task.request.name, age))

    async def delete(self, task: Task, handle: bytes, now: datetime) -> None:
        """See `Remote.delete`."""
        job = handle.decode()
        if not job:
            queue = asked(task, self._settings).queue
            job = await self._found(job_name(task), queue)
        if job:
            await self._asked("terminate_job", jobId=job, reason=_REASON)

    async def _found(self, name: str, queue: str) -> str:
        """The job of this name, "" if there is none."""
        named = [{"name": "JOB_NAME", "values": [name]}]
        found = await self._asked("list_jobs", jobQueue=queue, filters=named)
        return next((job["jobId"] for job in found["jobSummaryList"] if job["jobName"] == name), "")

    async def _submitted(self, wanted: Asked) -> str:
        definition = await self._definition(wanted.definition)
        try:
            made = await asyncio.to_thread(self._client.submit_job, jobDefinition=definition, **wanted.submission)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in _LATER | _RIGHTS:
                raise Unavailable(_text(error)) from error
            raise Failed(Cause("BadRequest", _text(error), recoverable=False)) from error
        except _NOT_SENT as error:
            raise Unavailable(_text(error)) from error
        except BotoCoreError as error:
            raise Unsure(_text(error)) from error
        job: str = made["jobId"]
        return job

    async def _definition(self, wanted: Mapping[str, Any]) -> str:
        """The definition of this name, made if it is not there yet: two that are the same do no harm."""
        name = wanted["jobDefinitionName"]
        if name not in self._definitions:
            there = await self._asked("describe_job_definitions", jobDefinitionName=name, status="ACTIVE")
            found = there["jobDefinitions"] or [await self._asked("register_job_definition", **wanted)]
            self._definitions[name] = found[0]["jobDefinitionArn"]
        return self._definitions[name]

    async def _asked(self, call: str, **said: Any) -> Mapping[str, Any]:
        """The answer to a call that may be made again."""
        try:
            found: Mapping[str, Any] = await asyncio.to_thread(getattr(self._client, call), **said)
        except ClientError as error:
            if call == "register_job_definition" and error.response["Error"]["Code"] == "ClientException":
                raise Failed(Cause("BadRequest", _text(error), recoverable=False)) from error
            raise Unavailable(_text(error)) from error
        except BotoCoreError as error:
            raise Unavailable(_text(error)) from error
        return found


def _text(error: Exception) -> str:
    return f"AWS Batch: {error}"
