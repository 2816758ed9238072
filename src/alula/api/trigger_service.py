"""`flyteidl2.trigger.TriggerService`."""

from flyteidl2.trigger import trigger_service_pb2 as pb

from alula.control.triggers import Triggers
from alula.rpc.service import Context
from alula.wire import ids, pages
from alula.wire import triggers as wire


class TriggerService:
    """Triggers and their revisions."""

    def __init__(self, triggers: Triggers, user: str) -> None:
        self._triggers = triggers
        self._user = user

    async def deploy_trigger(self, request: pb.DeployTriggerRequest, context: Context) -> pb.DeployTriggerResponse:
        """Make a trigger, or a revision of one; FAILED_PRECONDITION if there is a newer one."""
        deployed = await self._triggers.deploy(wire.deployed(request), request.revision, self._user)
        return pb.DeployTriggerResponse(trigger=wire.details_message(deployed, request.name.org))

    async def get_trigger_details(
        self, request: pb.GetTriggerDetailsRequest, context: Context
    ) -> pb.GetTriggerDetailsResponse:
        """Return a trigger."""
        found = await self._triggers.get(ids.trigger(request.name))
        return pb.GetTriggerDetailsResponse(trigger=wire.details_message(found, request.name.org))

    async def get_trigger_revision_details(
        self, request: pb.GetTriggerRevisionDetailsRequest, context: Context
    ) -> pb.GetTriggerRevisionDetailsResponse:
        """Return a trigger as it was in a revision."""
        name = request.id.name
        found = await self._triggers.revision(ids.trigger(name), request.id.revision)
        return pb.GetTriggerRevisionDetailsResponse(trigger=wire.details_message(found, name.org))

    async def list_triggers(self, request: pb.ListTriggersRequest, context: Context) -> pb.ListTriggersResponse:
        """Page through triggers, filtered and sorted."""
        page, token = await self._triggers.page(wire.scope(request), pages.page(request.request))
        return pb.ListTriggersResponse(triggers=[wire.message(one, one.new.org) for one in page], token=token)

    async def get_trigger_revision_history(
        self, request: pb.GetTriggerRevisionHistoryRequest, context: Context
    ) -> pb.GetTriggerRevisionHistoryResponse:
        """Page through a trigger's revisions, of a deleted one's too."""
        page, token = await self._triggers.history(ids.trigger(request.name), pages.page(request.request))
        found = [wire.revision_message(one, request.name.org) for one in page]
        return pb.GetTriggerRevisionHistoryResponse(triggers=found, token=token)

    async def update_triggers(self, request: pb.UpdateTriggersRequest, context: Context) -> pb.UpdateTriggersResponse:
        """Turn triggers on or off, all or none; it holds from the commit on."""
        names = [ids.trigger(name) for name in request.names]
        await self._triggers.switch(names, active=request.active, by=self._user)
        return pb.UpdateTriggersResponse()

    async def delete_triggers(self, request: pb.DeleteTriggersRequest, context: Context) -> pb.DeleteTriggersResponse:
        """Delete triggers, all or none; it holds from the commit on."""
        await self._triggers.delete([ids.trigger(name) for name in request.names], self._user)
        return pb.DeleteTriggersResponse()
