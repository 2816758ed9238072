"""`flyteidl2.workflow.InternalRunService`: what executors elsewhere record. Outcomes travel inside the responses."""

from collections.abc import AsyncIterator, Iterable

from flyteidl2.workflow import internal_run_service_pb2 as pb
from google.rpc import status_pb2

from alula.api.errors import status
from alula.control.actions import Actions
from alula.control.attempts import Attempts
from alula.core.action import Event
from alula.core.errors import DomainError
from alula.core.ids import ActionId
from alula.rpc.service import Context
from alula.wire import actions as wire
from alula.wire import ids


class InternalRunService:
    """Recording from inside the platform."""

    def __init__(self, actions: Actions, attempts: Attempts) -> None:
        self._actions = actions
        self._attempts = attempts

    async def record_action(self, request: pb.RecordActionRequest, context: Context) -> pb.RecordActionResponse:
        """Accept an action; the outcome is in the response."""
        try:
            await self._actions.enqueue(ids.run(request.action_id.run), wire.new_action(request))
        except DomainError as error:
            return pb.RecordActionResponse(action_id=request.action_id, status=status(error))
        return pb.RecordActionResponse(action_id=request.action_id, status=status())

    async def record_action_stream(
        self, requests: AsyncIterator[pb.RecordActionStreamRequest], context: Context
    ) -> AsyncIterator[pb.RecordActionStreamResponse]:
        """Accept actions one after the other; an outcome for each."""
        async for message in requests:
            yield pb.RecordActionStreamResponse(response=await self.record_action(message.request, context))

    async def update_action_status(
        self, request: pb.UpdateActionStatusRequest, context: Context
    ) -> pb.UpdateActionStatusResponse:
        """Take an attempt's status, fenced by attempt; the outcome is in the response."""
        recorded = await self._record(wire.status_event(r) for r in [request])
        return pb.UpdateActionStatusResponse(action_id=request.action_id, status=recorded)

    async def update_action_status_stream(
        self, requests: AsyncIterator[pb.UpdateActionStatusStreamRequest], context: Context
    ) -> AsyncIterator[pb.UpdateActionStatusStreamResponse]:
        """Take statuses one after the other; an outcome for each, with its nonce."""
        async for message in requests:
            response = await self.update_action_status(message.request, context)
            yield pb.UpdateActionStatusStreamResponse(response=response, nonce=message.nonce)

    async def record_action_events(
        self, request: pb.RecordActionEventsRequest, context: Context
    ) -> pb.RecordActionEventsResponse:
        """Take events, all or none; the outcome is in the response."""
        return pb.RecordActionEventsResponse(status=await self._record(wire.event(e) for e in request.events))

    async def record_action_event_stream(
        self, requests: AsyncIterator[pb.RecordActionEventStreamRequest], context: Context
    ) -> AsyncIterator[pb.RecordActionEventStreamResponse]:
        """Take events one after the other; an outcome for each, with its nonce."""
        async for message in requests:
            event = message.request.event
            recorded = await self._record(wire.event(e) for e in [event])
            response = pb.RecordActionEventResponse(action_id=event.id, status=recorded)
            yield pb.RecordActionEventStreamResponse(response=response, nonce=message.nonce)

    async def _record(self, reported: Iterable[tuple[ActionId, Event]]) -> status_pb2.Status:
        """``reported`` is read here: what cannot be understood is an outcome, too, and ends no stream."""
        try:
            await self._attempts.record(reported)
        except DomainError as error:
            return status(error)
        return status()
