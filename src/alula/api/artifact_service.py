"""`flyteidl2.artifact.ArtifactService`."""

from flyteidl2.artifact import artifact_service_pb2 as pb

from alula.control.artifacts import Artifacts
from alula.rpc.service import Context
from alula.wire import artifacts as wire
from alula.wire import pages


class ArtifactService:
    """Artifacts. ``user`` is whom this server takes its callers for."""

    def __init__(self, artifacts: Artifacts, user: str) -> None:
        self._artifacts = artifacts
        self._user = user

    async def create_artifact(self, request: pb.CreateArtifactRequest, context: Context) -> pb.CreateArtifactResponse:
        """Publish a version; the same again is the same version."""
        artifact = wire.artifact(wire.identifier(request.artifact_id), request.spec, self._user)
        published = await self._artifacts.publish(artifact)
        return pb.CreateArtifactResponse(artifact=wire.message(published, request.artifact_id.name.org))

    async def get_artifact(self, request: pb.GetArtifactRequest, context: Context) -> pb.GetArtifactResponse:
        """Return a version, or the one published last."""
        found = await self._artifacts.get(wire.name(request.name), request.version)
        return pb.GetArtifactResponse(artifact=wire.message(found, request.name.org))

    async def list_artifacts(self, request: pb.ListArtifactsRequest, context: Context) -> pb.ListArtifactsResponse:
        """Page through the versions of a project or a name, newest first."""
        scope = wire.scope(request.project_id, request.name, latest_per_partition=request.latest_per_partition)
        page, token = await self._artifacts.page(scope, pages.page(request.request))
        org = request.project_id.organization
        return pb.ListArtifactsResponse(artifacts=[wire.message(one, org) for one in page], token=token)

    async def list_artifact_names(
        self, request: pb.ListArtifactNamesRequest, context: Context
    ) -> pb.ListArtifactNamesResponse:
        """Page through the names of a project, each with its latest version."""
        scope = wire.scope(request.project_id)
        page, token = await self._artifacts.page_of_names(scope, pages.page(request.request))
        org = request.project_id.organization
        return pb.ListArtifactNamesResponse(groups=[wire.group_message(one, org) for one in page], token=token)

    async def list_artifact_metadata_keys(
        self, request: pb.ListArtifactMetadataKeysRequest, context: Context
    ) -> pb.ListArtifactMetadataKeysResponse:
        """List the metadata keys that recent versions have."""
        keys = await self._artifacts.metadata_keys(wire.scope(request.project_id, request.name))
        return pb.ListArtifactMetadataKeysResponse(keys=keys)

    async def delete_artifact(self, request: pb.DeleteArtifactRequest, context: Context) -> pb.DeleteArtifactResponse:
        """Forget a version; its data stays."""
        await self._artifacts.delete(wire.identifier(request.artifact_id))
        return pb.DeleteArtifactResponse()

    async def declare_artifact(
        self, request: pb.DeclareArtifactRequest, context: Context
    ) -> pb.DeclareArtifactResponse:
        """Fix what a name is partitioned by, ahead of any version."""
        fixed = await self._artifacts.declare(wire.name(request.name), wire.schema(request.partition_schema))
        return pb.DeclareArtifactResponse(partition_schema=wire.schema_message(fixed))

    async def get_artifact_schema(
        self, request: pb.GetArtifactSchemaRequest, context: Context
    ) -> pb.GetArtifactSchemaResponse:
        """Say what a name is partitioned by, and whether that was declared."""
        schema, declared = await self._artifacts.schema(wire.name(request.name))
        return pb.GetArtifactSchemaResponse(partition_schema=wire.schema_message(schema), declared=declared)

    async def list_partition_values(
        self, request: pb.ListPartitionValuesRequest, context: Context
    ) -> pb.ListPartitionValuesResponse:
        """List the values of one key of a name's partitions."""
        name = wire.name_in(request.project_id, request.name)
        found = await self._artifacts.partition_values(name, request.key, pages.page(request.request))
        return pb.ListPartitionValuesResponse(values=wire.values(found))
