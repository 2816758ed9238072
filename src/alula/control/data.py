"""Inputs, outputs, uploads and downloads: what lies in the object store, and who may touch it how."""

import base64
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

from alula.base.clock import Clock
from alula.blobs.signing import needed
from alula.blobs.store import Blobs
from alula.blobs.uri import join
from alula.control.actions import Actions
from alula.control.settings import ScopedSettings
from alula.control.tasks import Tasks
from alula.core.action import Action, Kind, NewAction
from alula.core.errors import AlreadyExists, Invalid, NotFound
from alula.core.ids import ActionId, TaskId
from alula.core.signed import Signed, Upload
from alula.wire import inputs as wire_inputs
from alula.wire import tasks as wire_tasks
from alula.wire.actions import written_error

MAX_EXPIRY = timedelta(hours=1)


Sign = Callable[[str, str, timedelta, dict[str, str]], Awaitable[str]]  # method, uri, expires, headers -> url


class Data:
    """The verbs of data."""

    def __init__(self, blobs: Blobs, actions: Actions, settings: ScopedSettings, tasks: Tasks, clock: Clock) -> None:
        self._blobs = blobs
        self._actions = actions
        self._settings = settings
        self._tasks = tasks
        self._clock = clock

    async def upload(self, asked: Upload, sign: Sign) -> Signed:
        """Permission to upload one file.

        Raises:
            Invalid: the name leads elsewhere, or the content is not named.
            NotFound: there is no such project or domain.
            AlreadyExists: another content lies under that name.
        """
        await self._settings.values(asked.project, asked.domain)
        if not asked.root and not asked.md5:
            raise Invalid("content_md5: needed when there is no filename_root")
        folder = asked.root or base64.b32encode(asked.md5).decode().rstrip("=").lower()
        uri = self._blobs.join(f"uploads/{asked.project}/{asked.domain}/{folder}/{asked.filename or 'data'}")
        if asked.root and asked.filename and not _grows(asked):
            await self._check_overwrite(uri, asked.md5)
        headers = {"Content-MD5": base64.b64encode(asked.md5).decode()} if asked.md5 else {}
        return await self._signed("PUT", uri, asked.expires, headers | needed(uri), sign)

    async def _check_overwrite(self, uri: str, md5: bytes) -> None:
        there = await self._blobs.head(uri)
        if there is None or there.etag == md5.hex():
            return
        if await self._blobs.md5(uri) != md5.hex():
            raise AlreadyExists(f"{uri} exists with another content: choose another filename_root")

    async def _signed(self, method: str, uri: str, expires: timedelta, headers: dict[str, str], sign: Sign) -> Signed:
        if not timedelta(0) < expires <= MAX_EXPIRY:
            raise Invalid(f"expires_in: must be more than 0 and at most {MAX_EXPIRY}")
        return Signed(await sign(method, uri, expires, headers), uri, self._clock() + expires, headers)

    async def put_inputs(self, project: str, domain: str, inputs: bytes, spec: bytes, base_dir: str) -> tuple[str, str]:
        """Store a run's inputs under their content; the folder's URI, and a hash that leaves out ignored variables.

        Raises:
            NotFound: there is no such project or domain.
        """
        settings = await self._settings.values(project, domain)
        base = (base_dir or settings.get("run.run_base_dir", "")).rstrip("/") or self._blobs.join("inputs")
        folder = join(base, project, domain, hashlib.sha256(inputs).hexdigest())
        await self._blobs.put(f"{folder}/inputs.pb", inputs)
        return folder, wire_inputs.content_hash(inputs, wire_tasks.spec(spec).task_template)

    async def uris(self, action: ActionId) -> tuple[str, str]:
        """Where an action's inputs and outputs are; "" for outputs it has not written."""
        row = await self._actions.get(action)
        return row.input_uri, _outputs_uri(row)

    async def read(self, action: ActionId) -> tuple[bytes, bytes]:
        """An action's inputs and outputs; empty where there are none (yet).

        Raises:
            NotFound: there is no such action.
        """
        inputs, outputs = await self.uris(action)
        return await self._get(inputs), await self._get(outputs)

    async def _get(self, uri: str) -> bytes:
        if not uri:
            return b""
        try:
            return await self._blobs.get(uri)
        except NotFound:
            return b""

    async def with_reason(self, new: NewAction) -> NewAction:
        """An action to enqueue; a trace that failed, with the error that its task has written (SDK: `io.py`)."""
        if new.kind is not Kind.TRACE or new.failure is None:
            return new
        written = await self._get(f"{new.base_uri}/{new.name}/error.pb")
        return replace(new, failure=written_error(written)) if written else new

    async def report(self, action: ActionId, attempt: int, expires: timedelta, sign: Sign) -> Signed:
        """Permission to read an attempt's report; it can be read while the attempt still writes it.

        Raises:
            NotFound: there is no such action, or it has no report.
        """
        row = await self._actions.get(action)
        uri = f"{row.base_uri}/{row.id.name}/{attempt}/report.html"
        if await self._blobs.head(uri) is None:
            raise NotFound(f"attempt {attempt} of {action} has written no report")
        return await self._signed("GET", uri, expires, {}, sign)

    async def code(self, spec: bytes, expires: timedelta, sign: Sign) -> Signed:
        """Permission to read the code bundle of a spec.

        Raises:
            NotFound: the code is not in a bundle, or the bundle is gone.
        """
        uri = wire_tasks.spec(spec).task_template.metadata.code_bundle_uri
        if not uri or await self._blobs.head(uri) is None:
            raise NotFound("there is no code bundle")
        return await self._signed("GET", uri, expires, {}, sign)

    async def action_spec(self, action: ActionId) -> bytes:
        """The spec of a task action.

        Raises:
            NotFound: there is no such action, or it runs no task.
        """
        details = await self._actions.details(action)
        if details.action.kind is not Kind.TASK:
            raise NotFound(f"action {action} runs no task: it has no code")
        return details.spec

    async def task_spec(self, task: TaskId) -> bytes:
        """The spec of a deployed task."""
        return await self._tasks.spec(task)


def _grows(asked: Upload) -> bool:
    """The report of a tracked run is uploaded again whenever there is more of it (SDK: `_remote_upload.py`)."""
    return asked.root.startswith("tracked-runs/") and asked.filename == "report.html"


def _outputs_uri(action: Action) -> str:
    if not action.phase.success or not action.output_uri:
        return ""
    return action.output_uri if action.kind is Kind.TRACE else f"{action.output_uri}/outputs.pb"
