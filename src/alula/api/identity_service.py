"""`flyteidl2.auth.IdentityService`."""

from flyteidl2.auth import identity_pb2 as pb

from alula.rpc.service import Context


class IdentityService:
    """Who the caller is: without authentication, the user that this server belongs to."""

    def __init__(self, user: str) -> None:
        self._user = user

    async def user_info(self, request: pb.UserInfoRequest, context: Context) -> pb.UserInfoResponse:
        """Return the user that this server takes its callers for."""
        return pb.UserInfoResponse(subject=self._user, name=self._user, preferred_username=self._user)
