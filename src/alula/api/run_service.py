"""`flyteidl2.workflow.RunService`."""

import random
from collections.abc import AsyncIterator

from flyteidl2.workflow import run_service_pb2 as pb

from alula.control.actions import Actions
from alula.control.conditions import Conditions
from alula.control.data import Data
from alula.control.groups import Groups
from alula.control.runs import Runs
from alula.core.errors import NotFound
from alula.core.ids import ROOT, ActionId
from alula.rpc.service import Context
from alula.wire import actions as wire_actions
from alula.wire import conditions as wire_conditions
from alula.wire import filters, ids, pages
from alula.wire import groups as wire_groups
from alula.wire import runs as wire

_RANDOM = random.Random()  # noqa: S311 - names have to differ, not to be secret; reading the system's costs 50 us


class RunService:
    """Runs and their actions, for clients."""

    def __init__(
        self, runs: Runs, actions: Actions, data: Data, conditions: Conditions, groups: Groups, user: str
    ) -> None:
        self._runs = runs
        self._actions = actions
        self._data = data
        self._conditions = conditions
        self._groups = groups
        self._user = user

    async def create_run(self, request: pb.CreateRunRequest, context: Context) -> pb.CreateRunResponse:
        """Accept a run: on disk when answered. The same request is the same run, another ALREADY_EXISTS."""
        creation = wire.creation(request, context.headers.get("x-request-id", ""), self._user)
        root = await self._runs.create(creation, _RANDOM.randbytes)
        return pb.CreateRunResponse(run=wire.message(root, creation.org))

    async def abort_run(self, request: pb.AbortRunRequest, context: Context) -> pb.AbortRunResponse:
        """Ask for the end of a run and of all in it; one that has ended stays as it is."""
        await self._actions.abort(ActionId(ids.run(request.run_id), ROOT), request.reason, self._user)
        return pb.AbortRunResponse()

    async def abort_action(self, request: pb.AbortActionRequest, context: Context) -> pb.AbortActionResponse:
        """Ask for the end of an action and of all below it; one that has ended stays as it is."""
        await self._actions.abort(ids.action(request.action_id), request.reason, self._user)
        return pb.AbortActionResponse()

    async def signal_event(self, request: pb.SignalEventRequest, context: Context) -> pb.SignalEventResponse:
        """Answer a condition, once: typed, and fine if the same answer comes again."""
        value = wire_conditions.answer(request.payload)
        await self._conditions.signal(ids.action(request.action_id), value, self._user)
        return pb.SignalEventResponse()

    async def get_run_details(self, request: pb.GetRunDetailsRequest, context: Context) -> pb.GetRunDetailsResponse:
        """Return a run, with all attempts of its root action."""
        run = await self._runs.get(ids.run(request.run_id))
        details = await self._actions.details(ActionId(run.id, ROOT))
        return pb.GetRunDetailsResponse(details=wire.details_message(run, details, request.run_id.org))

    async def watch_run_details(
        self, request: pb.WatchRunDetailsRequest, context: Context
    ) -> AsyncIterator[pb.WatchRunDetailsResponse]:
        """Send a run's details whenever they change; the last message tells how it ended."""
        run = await self._runs.get(ids.run(request.run_id))
        async for details in self._actions.watch(ActionId(run.id, ROOT)):
            yield pb.WatchRunDetailsResponse(details=wire.details_message(run, details, request.run_id.org))

    async def get_action_details(
        self, request: pb.GetActionDetailsRequest, context: Context
    ) -> pb.GetActionDetailsResponse:
        """Return an action with every attempt, each with its own error, times and outputs."""
        details = await self._actions.details(ids.action(request.action_id))
        return pb.GetActionDetailsResponse(details=wire_actions.details_message(details, request.action_id.run.org))

    async def watch_action_details(
        self, request: pb.WatchActionDetailsRequest, context: Context
    ) -> AsyncIterator[pb.WatchActionDetailsResponse]:
        """Send an action's details whenever they change; the last message tells how it ended."""
        async for details in self._actions.watch(ids.action(request.action_id)):
            message = wire_actions.details_message(details, request.action_id.run.org)
            yield pb.WatchActionDetailsResponse(details=message)

    async def get_action_data(self, request: pb.GetActionDataRequest, context: Context) -> pb.GetActionDataResponse:
        """Return the inputs and outputs of an action, a signalled condition's too."""
        inputs, outputs = await self._data.read(ids.action(request.action_id))
        return pb.GetActionDataResponse(inputs=wire_actions.inputs(inputs), outputs=wire_actions.outputs(outputs))

    async def get_action_data_uris(
        self, request: pb.GetActionDataURIsRequest, context: Context
    ) -> pb.GetActionDataURIsResponse:
        """Say where an action's inputs and outputs are."""
        inputs, outputs = await self._data.uris(ids.action(request.action_id))
        return pb.GetActionDataURIsResponse(inputs_uri=inputs, outputs_uri=outputs)

    async def get_action_log_context(
        self, request: pb.GetActionLogContextRequest, context: Context
    ) -> pb.GetActionLogContextResponse:
        """Say whose log an attempt has, and from when to when."""
        details = await self._actions.details(ids.action(request.action_id))
        for attempt in details.attempts:
            if attempt.number == request.attempt and attempt.logged:
                return wire_actions.log_context_message(attempt)
        raise NotFound(f"attempt {request.attempt} of {details.action.id} has no log")

    async def list_runs(self, request: pb.ListRunsRequest, context: Context) -> pb.ListRunsResponse:
        """Page through runs, filtered and sorted; the pages are right while runs change."""
        page, token = await self._runs.page(wire.scope(request), pages.page(request.request))
        return pb.ListRunsResponse(runs=[wire.message(root, root.org) for root in page], token=token)

    async def watch_runs(self, request: pb.WatchRunsRequest, context: Context) -> AsyncIterator[pb.WatchRunsResponse]:
        """Send the newest runs of a scope, then each that is created or changes."""
        async for page in self._runs.watch(wire.watch_scope(request)):
            yield pb.WatchRunsResponse(runs=[wire.message(root, root.org) for root in page])

    async def list_actions(self, request: pb.ListActionsRequest, context: Context) -> pb.ListActionsResponse:
        """Page through a run's actions, filtered and sorted."""
        page, token = await self._actions.page(ids.run(request.run_id), pages.page(request.request))
        org = request.run_id.org
        return pb.ListActionsResponse(actions=[wire_actions.message(a, org) for a in page], token=token)

    async def watch_actions(
        self, request: pb.WatchActionsRequest, context: Context
    ) -> AsyncIterator[pb.WatchActionsResponse]:
        """Send the tree of a run, then every change, with the phases of all that is below each."""
        sieve = filters.sieve(request.filter)
        async for message in self._actions.watch_tree(ids.run(request.run_id), request.run_id.org, sieve):
            yield message

    async def watch_groups(
        self, request: pb.WatchGroupsRequest, context: Context
    ) -> AsyncIterator[pb.WatchGroupsResponse]:
        """Send the runs of a scope grouped by task, a sentinel, then only the groups that change."""
        async for told in self._groups.watch(wire_groups.scope(request)):
            groups = [*map(wire_groups.message, told.groups), *map(wire_groups.gone, told.gone)]
            yield pb.WatchGroupsResponse(task_groups=groups, sentinel=told.whole)

    async def watch_cluster_events(
        self, request: pb.WatchClusterEventsRequest, context: Context
    ) -> AsyncIterator[pb.WatchClusterEventsResponse]:
        """Send what is noted of an attempt, each note once, until the action has ended."""
        async for notes in self._actions.watch_notes(ids.action(request.id), request.attempt):
            yield pb.WatchClusterEventsResponse(cluster_events=[wire_actions.cluster_event(note) for note in notes])
