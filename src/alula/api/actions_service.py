"""`flyteidl2.actions.ActionsService`: what a running task asks for its children."""

from collections.abc import AsyncIterator

from flyteidl2.actions import actions_service_pb2 as pb
from flyteidl2.workflow import state_service_pb2

from alula.control.actions import Actions
from alula.control.attempts import Attempts
from alula.control.conditions import Conditions
from alula.control.data import Data
from alula.rpc.service import Context
from alula.wire import actions as wire
from alula.wire import ids


class ActionsService:
    """Children of an action."""

    def __init__(self, actions: Actions, data: Data, conditions: Conditions, attempts: Attempts, user: str) -> None:
        self._actions = actions
        self._data = data
        self._conditions = conditions
        self._attempts = attempts
        self._user = user

    async def enqueue(self, request: pb.EnqueueRequest, context: Context) -> pb.EnqueueResponse:
        """Accept a child: on disk when answered; asked again, it is the same action."""
        new = await self._data.with_reason(wire.new_action(request.action))
        await self._actions.enqueue(ids.run(request.action.action_id.run), new)
        return pb.EnqueueResponse()

    async def watch_for_updates(
        self, request: pb.WatchForUpdatesRequest, context: Context
    ) -> AsyncIterator[pb.WatchForUpdatesResponse]:
        """The children there are, a sentinel, then every change, for as long as the caller listens."""
        parent = request.parent_action_id
        async for children in self._actions.watch_children(ids.action(parent)):
            if children is None:
                yield pb.WatchForUpdatesResponse(control_message=state_service_pb2.ControlMessage(sentinel=True))
            for child in children or ():
                yield pb.WatchForUpdatesResponse(action_update=wire.update_message(child, parent.run.org))

    async def abort(self, request: pb.AbortRequest, context: Context) -> pb.AbortResponse:
        """Ask for the end of an action and of all below it, however late or down its executor is."""
        await self._actions.abort(ids.action(request.action_id), request.reason, self._user)
        return pb.AbortResponse()

    async def signal(self, request: pb.SignalRequest, context: Context) -> pb.SignalResponse:
        """Answer a condition, once: typed, and fine if the same answer comes again."""
        by = wire.subject(request.signalled_by) or self._user
        await self._conditions.signal(ids.action(request.action_id), request.value.SerializeToString(), by)
        return pb.SignalResponse()

    async def update(self, request: pb.UpdateRequest, context: Context) -> pb.UpdateResponse:
        """Take a status that an executor elsewhere reports; late and repeated ones change nothing."""
        await self._attempts.record([wire.update_event(request)])
        return pb.UpdateResponse()
