"""`flyteidl2.workflow.QueueService`: how older SDKs enqueue and abort."""

from flyteidl2.workflow import queue_service_pb2 as pb

from alula.control.actions import Actions
from alula.control.data import Data
from alula.core.ids import ROOT, ActionId
from alula.rpc.service import Context
from alula.wire import actions as wire
from alula.wire import ids


class QueueService:
    """The queue."""

    def __init__(self, actions: Actions, data: Data, user: str) -> None:
        self._actions = actions
        self._data = data
        self._user = user

    async def enqueue_action(self, request: pb.EnqueueActionRequest, context: Context) -> pb.EnqueueActionResponse:
        """Accept an action, as ActionsService.Enqueue does."""
        new = await self._data.with_reason(wire.new_action(request))
        await self._actions.enqueue(ids.run(request.action_id.run), new)
        return pb.EnqueueActionResponse()

    async def abort_queued_run(self, request: pb.AbortQueuedRunRequest, context: Context) -> pb.AbortQueuedRunResponse:
        """Abort a run, as RunService.AbortRun does."""
        await self._actions.abort(ActionId(ids.run(request.run_id), ROOT), request.reason, self._user)
        return pb.AbortQueuedRunResponse()

    async def abort_queued_action(
        self, request: pb.AbortQueuedActionRequest, context: Context
    ) -> pb.AbortQueuedActionResponse:
        """Abort an action and all below it, as RunService.AbortAction does."""
        await self._actions.abort(ids.action(request.action_id), request.reason, self._user)
        return pb.AbortQueuedActionResponse()
