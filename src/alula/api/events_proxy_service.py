"""`flyteidl2.workflow.EventsProxyService`: events of executors elsewhere."""

from flyteidl2.workflow import events_proxy_service_pb2 as pb

from alula.control.attempts import Attempts
from alula.rpc.service import Context
from alula.wire import actions as wire


class EventsProxyService:
    """The door for events: all of a request is recorded, or nothing."""

    def __init__(self, attempts: Attempts) -> None:
        self._attempts = attempts

    async def record(self, request: pb.RecordRequest, context: Context) -> pb.RecordResponse:
        """Take events of executors elsewhere, all or none; late and repeated ones change nothing."""
        await self._attempts.record([wire.event(event) for event in request.events])
        return pb.RecordResponse()
