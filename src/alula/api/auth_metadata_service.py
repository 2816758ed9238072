"""`flyteidl2.auth.AuthMetadataService`."""

from flyteidl2.auth import auth_service_pb2 as pb

from alula.core.errors import Unsupported
from alula.rpc.service import Context


class AuthMetadataService:
    """How to authenticate: this server asks nobody to."""

    async def get_o_auth2_metadata(
        self, request: pb.GetOAuth2MetadataRequest, context: Context
    ) -> pb.GetOAuth2MetadataResponse:
        raise Unsupported("this server asks for no authentication: connect without it (insecure: true)")

    async def get_public_client_config(
        self, request: pb.GetPublicClientConfigRequest, context: Context
    ) -> pb.GetPublicClientConfigResponse:
        return pb.GetPublicClientConfigResponse(authorization_metadata_key="authorization")
