"""Secrets: what is known of them. Values only, and none of these holds the secret itself in the clear."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum

from alula.core.scope import Scope


class SecretType(IntEnum):
    """What a secret is for. Numbers are those of `secret.SecretType`."""

    GENERIC = 0
    IMAGE_PULL = 1


@dataclass(frozen=True, slots=True)
class SecretId:
    """A secret; names recur across scopes, and the narrowest one is used."""

    scope: Scope
    name: str

    def __str__(self) -> str:
        return f"secret {self.name!r} of {self.scope}"


@dataclass(frozen=True, slots=True)
class Secret:
    """What is told of a secret."""

    id: SecretId
    type: SecretType
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Sealed:
    """A secret's value, encrypted; ``key`` names the key that opens it."""

    key: str
    nonce: bytes = field(repr=False)
    text: bytes = field(repr=False)
