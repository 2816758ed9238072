"""`flyteidl2.workflow.TrackedRunService`."""

import random
from collections.abc import AsyncIterator
from dataclasses import replace

from flyteidl2.workflow import run_service_pb2 as rpc
from flyteidl2.workflow import tracked_run_service_pb2 as pb

from alula.api.errors import status
from alula.api.run_service import RunService
from alula.control.runs import Runs
from alula.control.tracked import Tracked
from alula.core.errors import DomainError
from alula.core.tracked import Report
from alula.rpc.service import Context
from alula.wire import ids, pages
from alula.wire import runs as wire_runs
from alula.wire import tracked as wire

_RANDOM = random.Random()  # noqa: S311 - names have to differ, not to be secret


class TrackedRunService:
    """Runs that are orchestrated elsewhere. Looking at one is the same as at any other, once it is known to be one."""

    def __init__(self, tracked: Tracked, runs: Runs, mirrored: RunService, user: str) -> None:
        self._tracked = tracked
        self._runs = runs
        self._mirrored = mirrored
        self._user = user

    async def create_run(self, request: pb.CreateTrackedRunRequest, context: Context) -> rpc.CreateRunResponse:
        """Register a run that is orchestrated elsewhere."""
        creation = wire.creation(request, context.headers.get("x-request-id", ""), self._user)
        root = await self._tracked.create(creation, _RANDOM.randbytes)
        return rpc.CreateRunResponse(run=wire_runs.message(root, creation.org))

    async def report_actions(
        self, request: pb.ReportTrackedActionsRequest, context: Context
    ) -> pb.ReportTrackedActionsResponse:
        """Take reports of actions, in order; an outcome for each."""
        told = [_report(update) for update in request.updates]
        outcomes = await self._tracked.report(ids.run(request.run_id), told)
        return pb.ReportTrackedActionsResponse(statuses=[status(outcome) for outcome in outcomes])

    async def abort_run(self, request: rpc.AbortRunRequest, context: Context) -> rpc.AbortRunResponse:
        """Mark all of a run that has not ended as aborted; later reports are refused."""
        await self._tracked.abort(ids.run(request.run_id), request.reason, self._user)
        return rpc.AbortRunResponse()

    async def get_run_details(self, request: rpc.GetRunDetailsRequest, context: Context) -> rpc.GetRunDetailsResponse:
        """As RunService.GetRunDetails, of a tracked run."""
        await self._tracked.require(ids.run(request.run_id))
        return await self._mirrored.get_run_details(request, context)

    async def watch_run_details(
        self, request: rpc.WatchRunDetailsRequest, context: Context
    ) -> AsyncIterator[rpc.WatchRunDetailsResponse]:
        """As RunService.WatchRunDetails, of a tracked run."""
        await self._tracked.require(ids.run(request.run_id))
        async for message in self._mirrored.watch_run_details(request, context):
            yield message

    async def get_action_details(
        self, request: rpc.GetActionDetailsRequest, context: Context
    ) -> rpc.GetActionDetailsResponse:
        """As RunService.GetActionDetails, of a tracked run."""
        await self._tracked.require(ids.run(request.action_id.run))
        return await self._mirrored.get_action_details(request, context)

    async def watch_action_details(
        self, request: rpc.WatchActionDetailsRequest, context: Context
    ) -> AsyncIterator[rpc.WatchActionDetailsResponse]:
        """As RunService.WatchActionDetails, of a tracked run."""
        await self._tracked.require(ids.run(request.action_id.run))
        async for message in self._mirrored.watch_action_details(request, context):
            yield message

    async def list_runs(self, request: rpc.ListRunsRequest, context: Context) -> rpc.ListRunsResponse:
        """As RunService.ListRuns, of tracked runs alone."""
        scope = replace(wire_runs.scope(request), hosted=False)
        page, token = await self._runs.page(scope, pages.page(request.request))
        return rpc.ListRunsResponse(runs=[wire_runs.message(root, root.org) for root in page], token=token)

    async def watch_runs(self, request: rpc.WatchRunsRequest, context: Context) -> AsyncIterator[rpc.WatchRunsResponse]:
        """As RunService.WatchRuns, of tracked runs alone."""
        scope = replace(wire_runs.watch_scope(request), hosted=False)
        async for page in self._runs.watch(scope):
            yield rpc.WatchRunsResponse(runs=[wire_runs.message(root, root.org) for root in page])

    async def list_actions(self, request: rpc.ListActionsRequest, context: Context) -> rpc.ListActionsResponse:
        """As RunService.ListActions, of a tracked run."""
        await self._tracked.require(ids.run(request.run_id))
        return await self._mirrored.list_actions(request, context)

    async def watch_actions(
        self, request: rpc.WatchActionsRequest, context: Context
    ) -> AsyncIterator[rpc.WatchActionsResponse]:
        """As RunService.WatchActions, of a tracked run."""
        await self._tracked.require(ids.run(request.run_id))
        async for message in self._mirrored.watch_actions(request, context):
            yield message


def _report(update: pb.TrackedActionUpdate) -> Report | DomainError:
    try:
        return wire.report(update)
    except DomainError as error:
        return error
