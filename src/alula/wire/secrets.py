"""Secrets: what is said and told of them, and how tasks ask for them."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import cast

from flyteidl2.common import identifier_pb2
from flyteidl2.core import security_pb2
from flyteidl2.secret import definition_pb2 as definition
from flyteidl2.secret import payload_pb2 as payload

from alula.core.errors import Invalid, LaunchRefused
from alula.core.ids import RunId
from alula.core.launch import SecretFile
from alula.core.pages import Page
from alula.core.scope import Scope
from alula.core.secret import Secret, SecretId, SecretType
from alula.wire import times

_CLUSTER = "local"
_GROUP = re.compile(r"(?!\.+$)[-a-zA-Z0-9_.:]{1,63}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LONGEST_VARIABLE = 128 * 1024 - 1  # bytes of ``name=value`` that Linux takes in one piece


def identifier(message: definition.SecretIdentifier) -> SecretId:
    return SecretId(Scope(message.domain, message.project), message.name)


def value(spec: definition.SecretSpec) -> bytes:
    """The secret itself. `Invalid` if there is none."""
    match spec.WhichOneof("value"):
        case "string_value":
            return spec.string_value.encode()
        case "binary_value":
            return spec.binary_value
        case _:
            raise Invalid("secret_spec: missing; give the secret as string_value or as binary_value")


def kind(spec: definition.SecretSpec) -> SecretType:
    """What a secret is for. `Invalid` for what this server does not know."""
    if int(spec.type) not in set(SecretType):
        raise Invalid(f"secret_spec.type: {spec.type} is not a type of secret")
    return SecretType(spec.type)


def page(message: payload.ListSecretsRequest) -> Page:
    if message.limit < 0:
        raise Invalid(f"limit: {message.limit} is negative")
    return Page(limit=message.limit, token=message.token)


def message(secret: Secret, organization: str) -> definition.Secret:
    """What is told of a secret. There is one cluster, and what is stored is there."""
    scope = secret.id.scope
    present = definition.ClusterSecretStatus(
        cluster=identifier_pb2.ClusterIdentifier(organization=organization, name=_CLUSTER),
        presence_status=definition.SecretPresenceStatus.PRESENT,
    )
    return definition.Secret(
        id=definition.SecretIdentifier(
            name=secret.id.name, organization=organization, domain=scope.domain, project=scope.project
        ),
        secret_metadata=definition.SecretMetadata(
            created_time=times.timestamp(secret.created_at),
            secret_status=definition.SecretStatus(
                overall_status=definition.OverallStatus.FULLY_PRESENT, cluster_status=[present]
            ),
            type=cast("definition.SecretType", int(secret.type)),
        ),
    )


@dataclass(frozen=True, slots=True)
class Injected:
    """The secrets of an attempt, ready for its process."""

    env: Mapping[str, str] = field(repr=False)
    files: tuple[SecretFile, ...]
    texts: tuple[str, ...] = field(default=(), repr=False)  # what a log must not show: those that are text


def keys(contexts: Iterable[security_pb2.SecurityContext]) -> set[str]:
    """The names of the secrets that a task or run asks for."""
    return {asked.key for context in contexts for asked in context.secrets}


def inject(contexts: Sequence[security_pb2.SecurityContext], values: Mapping[str, bytes], run: RunId) -> Injected:
    """How the secrets that a task or run asks for reach its process.

    Raises:
        LaunchRefused: there is no such secret, or it cannot be what is asked for.
    """
    env: dict[str, str] = {}
    files: list[SecretFile] = []
    for asked in (asked for context in contexts for asked in context.secrets):
        if asked.key not in values:
            raise LaunchRefused(
                f"secret {asked.key!r} does not exist for project {run.project!r} in domain {run.domain!r}; create it "
                f"with `flyte create secret {asked.key}`",
                code="SecretNotFound",
            )
        if asked.mount_requirement == security_pb2.Secret.FILE:
            files += _files(asked, values[asked.key])
        else:
            env |= dict([_variable(asked, values[asked.key])])
    asked_for = {asked.key for context in contexts for asked in context.secrets}
    return Injected(env, tuple(files), tuple(_texts(values[key] for key in sorted(asked_for))))


def _texts(secrets: Iterable[bytes]) -> Iterator[str]:
    for secret in secrets:
        with suppress(UnicodeDecodeError):
            yield secret.decode()


def _variable(asked: security_pb2.Secret, secret: bytes) -> tuple[str, str]:
    """By default the variable is named as the SDK does: group and key in capitals."""
    plain = f"{asked.group}_{asked.key}" if asked.group else asked.key
    name = asked.env_var or plain.replace("-", "_").upper()
    if not _VARIABLE.fullmatch(name):
        raise LaunchRefused(f"secret {asked.key!r} cannot be in an environment variable named {name!r}: use as_env_var")
    if len(name) + 1 + len(secret) > _LONGEST_VARIABLE:
        raise LaunchRefused(f"secret {asked.key!r} is too large for an environment variable: mount it as a file")
    try:
        text = secret.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise LaunchRefused(f"secret {asked.key!r} is no text: an environment variable cannot hold it, a file can")
    return name, text


def _files(asked: security_pb2.Secret, secret: bytes) -> Iterator[SecretFile]:
    """``<group>/<key>``, as it is spelled and in small letters, the group or not: programs look for each."""
    if asked.group and not _GROUP.fullmatch(asked.group):
        raise LaunchRefused(f"secret group {asked.group[:63]!r} cannot be the name of a folder")
    plain, *others = dict.fromkeys(
        f"{group}/{key}" if group else key
        for group, key in (
            (asked.group, asked.key),
            (asked.group, asked.key.lower()),
            (asked.group.lower(), asked.key.lower()),
        )
    )
    yield SecretFile(plain, secret, asked.env_var)
    for path in others:
        yield SecretFile(path, secret)
