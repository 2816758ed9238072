"""`flyteidl2.dataproxy.DataProxyService`."""

from collections.abc import AsyncIterator, Callable

from flyteidl2.common import identifier_pb2
from flyteidl2.dataproxy import dataproxy_service_pb2 as pb

from alula.control.data import Data, Sign
from alula.control.logs import Logs
from alula.control.triggers import Triggers
from alula.core.errors import Invalid
from alula.rpc.service import Context
from alula.wire import actions as wire_actions
from alula.wire import data as wire
from alula.wire import ids

SignFor = Callable[[str], Sign]  # the host a caller used -> URLs that this caller can reach


class DataProxyService:
    """Inputs, outputs, uploads, downloads and logs."""

    def __init__(self, data: Data, logs: Logs, triggers: Triggers, sign_for: SignFor) -> None:
        self._data = data
        self._logs = logs
        self._triggers = triggers
        self._sign_for = sign_for

    def _sign(self, context: Context) -> Sign:
        return self._sign_for(context.headers.get("host", ""))

    async def create_upload_location(
        self, request: pb.CreateUploadLocationRequest, context: Context
    ) -> pb.CreateUploadLocationResponse:
        """Sign an upload of one file, whose content, name and place are checked first."""
        signed = await self._data.upload(wire.upload(request), self._sign(context))
        return wire.upload_message(signed)

    async def upload_inputs(self, request: pb.UploadInputsRequest, context: Context) -> pb.UploadInputsResponse:
        """Store inputs under their content; the hash leaves ignored variables out."""
        project, domain = wire.place(request)
        spec = request.task_spec.SerializeToString(deterministic=True)
        match request.WhichOneof("task"):
            case "task_id":
                spec = await self._data.task_spec(ids.task(request.task_id))
            case "trigger_name":
                trigger = await self._triggers.get(ids.trigger(request.trigger_name))
                spec = await self._data.task_spec(trigger.launches)
        inputs = request.inputs.SerializeToString(deterministic=True)
        uri, content = await self._data.put_inputs(project, domain, inputs, spec, request.base_dir)
        return wire.inputs_message(uri, content)

    async def create_download_link(
        self, request: pb.CreateDownloadLinkRequest, context: Context
    ) -> pb.CreateDownloadLinkResponse:
        """Sign a download of a report, or of the code of an action or a task."""
        expires = wire.expiry(request)
        source, sign = request.WhichOneof("source"), self._sign(context)
        if request.artifact_type == pb.ARTIFACT_TYPE_REPORT and source == "action_attempt_id":
            attempt = request.action_attempt_id
            signed = await self._data.report(ids.action(attempt.action_id), attempt.attempt, expires, sign)
        elif request.artifact_type == pb.ARTIFACT_TYPE_CODE_BUNDLE and source in ("action_attempt_id", "task_id"):
            signed = await self._data.code(await self._spec(request), expires, sign)
        else:
            raise Invalid("artifact_type: a REPORT is of an action_attempt_id, a CODE_BUNDLE of that or of a task_id")
        return wire.download_message(signed)

    async def _spec(self, request: pb.CreateDownloadLinkRequest) -> bytes:
        if request.WhichOneof("source") == "task_id":
            return await self._data.task_spec(ids.task(request.task_id))
        action: identifier_pb2.ActionIdentifier = request.action_attempt_id.action_id
        return await self._data.action_spec(ids.action(action))

    async def get_action_data(self, request: pb.GetActionDataRequest, context: Context) -> pb.GetActionDataResponse:
        """Return the inputs and outputs of an action, of any size, and where they are."""
        action = ids.action(request.action_id)
        inputs, outputs = await self._data.read(action)
        inputs_uri, outputs_uri = await self._data.uris(action)
        return pb.GetActionDataResponse(
            inputs=wire_actions.inputs(inputs),
            outputs=wire_actions.outputs(outputs),
            inputs_uri=inputs_uri,
            outputs_uri=outputs_uri,
        )

    async def tail_logs(self, request: pb.TailLogsRequest, context: Context) -> AsyncIterator[pb.TailLogsResponse]:
        """Send an attempt's log from its beginning to its end, also long after it ended."""
        async for lines in self._logs.tail(ids.action(request.action_id), request.attempt):
            yield wire.logs_message(lines, request.attempt)
