"""`flyteidl2.secret.SecretService`. No answer ever holds a secret's value."""

from flyteidl2.secret import payload_pb2 as pb

from alula.control.secrets import Secrets
from alula.core.scope import Scope
from alula.rpc.service import Context
from alula.wire import secrets as wire


class SecretService:
    """Secrets."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    async def create_secret(self, request: pb.CreateSecretRequest, context: Context) -> pb.CreateSecretResponse:
        """Keep a new secret, encrypted."""
        spec = request.secret_spec
        await self._secrets.create(wire.identifier(request.id), wire.value(spec), wire.kind(spec))
        return pb.CreateSecretResponse()

    async def update_secret(self, request: pb.UpdateSecretRequest, context: Context) -> pb.UpdateSecretResponse:
        """Replace a secret; tasks that start from now on get the new value."""
        spec = request.secret_spec
        await self._secrets.update(wire.identifier(request.id), wire.value(spec), wire.kind(spec))
        return pb.UpdateSecretResponse()

    async def get_secret(self, request: pb.GetSecretRequest, context: Context) -> pb.GetSecretResponse:
        """Return what is known of a secret; never its value."""
        secret = await self._secrets.get(wire.identifier(request.id))
        return pb.GetSecretResponse(secret=wire.message(secret, request.id.organization))

    async def list_secrets(self, request: pb.ListSecretsRequest, context: Context) -> pb.ListSecretsResponse:
        """Page through the secrets of a scope and of all that is narrower."""
        page, token = await self._secrets.page(Scope(request.domain, request.project), wire.page(request))
        return pb.ListSecretsResponse(secrets=[wire.message(s, request.organization) for s in page], token=token)

    async def delete_secret(self, request: pb.DeleteSecretRequest, context: Context) -> pb.DeleteSecretResponse:
        """Forget a secret."""
        await self._secrets.delete(wire.identifier(request.id))
        return pb.DeleteSecretResponse()
