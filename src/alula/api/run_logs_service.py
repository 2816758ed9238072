"""`flyteidl2.workflow.RunLogsService`: the older name of `DataProxyService.TailLogs`."""

from collections.abc import AsyncIterator

from flyteidl2.workflow import run_logs_service_pb2 as pb

from alula.control.logs import Logs
from alula.rpc.service import Context
from alula.wire import data as wire
from alula.wire import ids


class RunLogsService:
    """The logs of attempts."""

    def __init__(self, logs: Logs) -> None:
        self._logs = logs

    async def tail_logs(self, request: pb.TailLogsRequest, context: Context) -> AsyncIterator[pb.TailLogsResponse]:
        """Send an attempt's log, as DataProxyService.TailLogs does."""
        async for lines in self._logs.tail(ids.action(request.action_id), request.attempt):
            batches = wire.logs_message(lines, request.attempt).logs
            yield pb.TailLogsResponse(logs=[pb.TailLogsResponse.Logs(lines=batch.lines) for batch in batches])
