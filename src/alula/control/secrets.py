"""Secrets: kept encrypted, told of but never told, and handed to tasks that ask for them by name."""

from collections.abc import Collection
from dataclasses import dataclass

from alula.base.clock import Clock
from alula.control.projects import Projects
from alula.core.errors import AlreadyExists, Conflict, Invalid, LaunchRefused, NotFound
from alula.core.pages import Page
from alula.core.scope import Scope
from alula.core.secret import Secret, SecretId, SecretType
from alula.secrets.cipher import Cipher
from alula.storage import secrets as store
from alula.storage.database import Database

LARGEST = 1024 * 1024  # bytes of a value


@dataclass(frozen=True, slots=True)
class Secrets:
    """The verbs of secrets."""

    database: Database
    clock: Clock
    projects: Projects
    cipher: Cipher

    async def create(self, secret: SecretId, value: bytes, kind: SecretType) -> None:
        """Keep a new secret.

        Raises:
            Invalid: the value is too large.
            NotFound: there is no such project or domain.
            AlreadyExists: there is one of that name in the scope.
        """
        _check(value)
        await self.projects.require_scope(secret.scope)
        new, sealed = Secret(secret, kind, self.clock()), self.cipher.seal(secret, value)
        if not await self.database.write(lambda tx: store.insert(tx, new, sealed)):
            raise AlreadyExists(f"{secret} exists: update or delete it")

    async def update(self, secret: SecretId, value: bytes, kind: SecretType) -> None:
        """Replace a secret. Tasks that start from now on get the new value.

        Raises:
            Invalid: the value is too large.
            NotFound: there is none of that name in the scope.
        """
        _check(value)
        new, sealed = Secret(secret, kind, self.clock()), self.cipher.seal(secret, value)
        if not await self.database.write(lambda tx: store.update(tx, new, sealed)):
            raise _missing(secret)

    async def get(self, secret: SecretId) -> Secret:
        """What is known of a secret.

        Raises:
            NotFound: there is none of that name in the scope.
        """
        found = await self.database.read(lambda tx: store.find(tx, secret))
        if found is None:
            raise _missing(secret)
        return found

    async def delete(self, secret: SecretId) -> None:
        """Forget a secret.

        Raises:
            NotFound: there is none of that name in the scope.
        """
        if not await self.database.write(lambda tx: store.delete(tx, secret)):
            raise _missing(secret)

    async def page(self, scope: Scope, asked: Page) -> tuple[list[Secret], str]:
        """One page of the secrets of a scope and of all that is narrower, and the token of the next."""
        return await self.database.scan(lambda tx: store.page(tx, scope, asked))

    async def resolve(self, project: str, domain: str, names: Collection[str]) -> dict[str, bytes]:
        """The values of the secrets of these names that a task of a project and domain sees: the narrowest of each.

        Names without a secret are left out.

        Raises:
            LaunchRefused: one of them cannot be decrypted.
        """
        if not names:
            return {}
        scope, wanted = Scope(domain, project), sorted(set(names))
        found = await self.database.read(lambda tx: store.visible(tx, scope, wanted))
        narrowest = {secret.name: (secret, sealed) for secret, sealed in found}  # the last of a name is the narrowest
        try:
            return {name: self.cipher.open(secret, sealed) for name, (secret, sealed) in narrowest.items()}
        except Conflict as error:
            raise LaunchRefused(str(error), code="SecretUnreadable") from None


def _check(value: bytes) -> None:
    if len(value) > LARGEST:
        raise Invalid(f"secret_spec: {len(value)} bytes are more than the {LARGEST} that a secret may have")


def _missing(secret: SecretId) -> NotFound:
    return NotFound(f"{secret} does not exist; create it with `flyte create secret {secret.name}`")
