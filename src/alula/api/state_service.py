"""`flyteidl2.workflow.StateService`: how older SDKs watch children, and engines elsewhere keep their state."""

from collections.abc import AsyncIterator

from flyteidl2.workflow import state_service_pb2 as pb

from alula.api.errors import status
from alula.control.actions import Actions
from alula.control.states import States
from alula.core.errors import DomainError
from alula.rpc.service import Context
from alula.wire import actions as wire
from alula.wire import ids


class StateService:
    """The state of actions. Outcomes of `Put` and `Get` travel inside the responses."""

    def __init__(self, actions: Actions, states: States) -> None:
        self._actions = actions
        self._states = states

    async def put(self, request: pb.PutRequest, context: Context) -> pb.PutResponse:
        """Remember the state of an action; the outcome is in the response."""
        parent = request.parent_action_name if request.HasField("parent_action_name") else None
        try:
            await self._states.put(ids.action(request.action_id), request.state, parent)
        except DomainError as error:
            return pb.PutResponse(action_id=request.action_id, status=status(error))
        return pb.PutResponse(action_id=request.action_id, status=status())

    async def get(self, request: pb.GetRequest, context: Context) -> pb.GetResponse:
        """Return the state that was put last; the outcome is in the response."""
        try:
            state = await self._states.get(ids.action(request.action_id))
        except DomainError as error:
            return pb.GetResponse(action_id=request.action_id, status=status(error))
        return pb.GetResponse(action_id=request.action_id, status=status(), state=state)

    async def watch(self, request: pb.WatchRequest, context: Context) -> AsyncIterator[pb.WatchResponse]:
        """Send the children there are, a sentinel, then every change."""
        parent = request.parent_action_id
        async for children in self._actions.watch_children(ids.action(parent)):
            if children is None:
                yield pb.WatchResponse(control_message=pb.ControlMessage(sentinel=True))
            for child in children or ():
                yield pb.WatchResponse(action_update=wire.update_message(child, parent.run.org))
