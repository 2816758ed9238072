"""`flyteidl2.workflow.StateService`: how older SDKs watch children."""

from collections.abc import AsyncIterator

from flyteidl2.workflow import state_service_pb2 as pb

from alula.control.actions import Actions
from alula.rpc.service import Context
from alula.wire import actions as wire
from alula.wire import ids


class StateService:
    """The state of actions."""

    def __init__(self, actions: Actions) -> None:
        self._actions = actions

    async def watch(self, request: pb.WatchRequest, context: Context) -> AsyncIterator[pb.WatchResponse]:
        parent = request.parent_action_id
        async for children in self._actions.watch_children(ids.action(parent)):
            if children is None:
                yield pb.WatchResponse(control_message=pb.ControlMessage(sentinel=True))
            for child in children or ():
                yield pb.WatchResponse(action_update=wire.update_message(child, parent.run.org))
