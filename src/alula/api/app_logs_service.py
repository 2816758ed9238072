"""`flyteidl2.app.AppLogsService`."""

from collections.abc import AsyncIterator

from flyteidl2.app import app_logs_payload_pb2 as pb
from flyteidl2.logs.dataplane import payload_pb2

from alula.control.app_logs import AppLogs, Replicas, Source
from alula.rpc.service import Context
from alula.wire import apps as wire

_SOURCES = {payload_pb2.LIVE_ONLY: Source.LIVE, payload_pb2.PERSISTED_ONLY: Source.PERSISTED}


class AppLogsService:
    """The logs of apps."""

    def __init__(self, logs: AppLogs) -> None:
        self._logs = logs

    async def tail_logs(self, request: pb.TailLogsRequest, context: Context) -> AsyncIterator[pb.TailLogsResponse]:
        """Name the replicas, then send their lines, kept and live, across starts and stops."""
        one = request.WhichOneof("target") == "replica_id"
        app = request.replica_id.app_id if one else request.app_id
        source = _SOURCES.get(request.source, Source.ALL)
        async for said in self._logs.tail(wire.identifier(app), request.replica_id.name, source):
            if isinstance(said, Replicas):
                yield wire.replicas_message(said.names, app)
            else:
                yield wire.lines_message(said.lines, app, said.replica, live=said.live)
