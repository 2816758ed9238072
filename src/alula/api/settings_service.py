"""`flyteidl2.settings.SettingsService`."""

from flyteidl2.settings import settings_service_pb2 as pb

from alula.control.settings import ScopedSettings
from alula.rpc.service import Context
from alula.wire import settings as wire


class SettingsService:
    """Settings of all domains, of a domain, of a project in a domain."""

    def __init__(self, settings: ScopedSettings) -> None:
        self._settings = settings

    async def get_settings(self, request: pb.GetSettingsRequest, context: Context) -> pb.GetSettingsResponse:
        """Return what applies in a scope, each value with the level it comes from."""
        resolved, version = await self._settings.resolved(wire.scope(request.key))
        return pb.GetSettingsResponse(settingsRecord=wire.resolved_message(request.key, resolved, version))

    async def get_settings_for_edit(
        self, request: pb.GetSettingsForEditRequest, context: Context
    ) -> pb.GetSettingsForEditResponse:
        """Return what each level says, broadest first."""
        levels = await self._settings.levels(wire.scope(request.key))
        messages = [wire.record_message(record, request.key.org) for record in levels]
        return pb.GetSettingsForEditResponse(requestedKey=request.key, levels=messages)

    async def create_settings(self, request: pb.CreateSettingsRequest, context: Context) -> pb.CreateSettingsResponse:
        """Say something in a scope for the first time."""
        record = await self._settings.create(wire.scope(request.key), request.settings)
        return pb.CreateSettingsResponse(settingsRecord=wire.record_message(record, request.key.org))

    async def update_settings(self, request: pb.UpdateSettingsRequest, context: Context) -> pb.UpdateSettingsResponse:
        """Replace what a scope says; FAILED_PRECONDITION if somebody else changed it meanwhile."""
        record = await self._settings.update(wire.scope(request.key), request.settings, request.version)
        return pb.UpdateSettingsResponse(settingsRecord=wire.record_message(record, request.key.org))
