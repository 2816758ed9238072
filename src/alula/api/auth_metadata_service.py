"""`flyteidl2.auth.AuthMetadataService`."""

from flyteidl2.auth import auth_service_pb2 as pb

from alula.core.errors import Conflict
from alula.rpc.service import Context

NO_AUTHENTICATION = (
    "this server asks for no authentication: connect without it (admin.insecure: true in the client's configuration)"
)


class AuthMetadataService:
    """How to authenticate: this server asks nobody to.

    An empty answer would send the SDK to log in at an address that is none; an error shows the user what to change.
    """

    async def get_o_auth2_metadata(
        self, request: pb.GetOAuth2MetadataRequest, context: Context
    ) -> pb.GetOAuth2MetadataResponse:
        """FAILED_PRECONDITION: there is no authentication, and the text says how to connect."""
        raise Conflict(NO_AUTHENTICATION)

    async def get_public_client_config(
        self, request: pb.GetPublicClientConfigRequest, context: Context
    ) -> pb.GetPublicClientConfigResponse:
        """Name the header for credentials; there is nothing else to configure."""
        return pb.GetPublicClientConfigResponse(authorization_metadata_key="authorization")
