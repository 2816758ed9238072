"""The variables and the secrets of containers (executor.md 5.2, 7). A secret is only ever named here."""

from collections.abc import Mapping
from typing import Any

from alula.core.taskaction import Request
from alula.manager.podspec.plain import merged
from alula.manager.podspec.settings import PodSettings

FOLDER = "/etc/flyte/secrets"  # where the SDK looks for secrets that are files
_VOLUME = "flyte-secrets"
_READABLE = 0o444  # a container may run as anybody
_OWN_NAME = {"name": "_F_PN", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
Env = list[dict[str, Any]]


def surroundings(settings: PodSettings) -> Env:
    """What the administrator gives to every container."""
    by_value: Env = [{"name": name, "value": value} for name, value in settings.env.items()]
    return by_value + [reference(name, secret, key) for name, (secret, key) in settings.env_from_secret.items()]


def environment(own: Env, request: Request, settings: PodSettings, own_of_main: Env) -> Env:
    """All variables of a container, none twice.

    What is the attempt's (the run's variables, what tells a task who it is) goes before what the container says of
    itself, and that before the administrator's. ``own_of_main`` are the primary container's own: the attempt's
    variables hold those, too, and they are not for others. A variable that refers to something (``valueFrom``) is
    empty among the attempt's.
    """
    strangers = {(one["name"], one.get("value", "")) for one in own_of_main} if own is not own_of_main else set()
    referring = {one["name"] for one in own if "valueFrom" in one}
    said = {name: value for name, value in request.env.items() if (name, value) not in strangers}
    attempt: Env = [{"name": name, "value": value} for name, value in said.items() if value or name not in referring]
    secret: Env = references(request)
    files: Env = [
        {"name": "FLYTE_SECRETS_DEFAULT_DIR", "value": FOLDER},
        {"name": "FLYTE_SECRETS_FILE_PREFIX", "value": ""},
    ] * bool(request.secret_files)
    named = {one["name"]: one for one in (*surroundings(settings), *own, *attempt, *files, *secret, _OWN_NAME)}
    return list(named.values())


def mount() -> dict[str, Any]:
    """Where a container finds the secrets that are files."""
    return {"name": _VOLUME, "mountPath": FOLDER, "readOnly": True}


def volume(request: Request) -> dict[str, Any]:
    """The secrets that are files, straight from the Secret. They are kept in memory on their node."""
    items = [{"key": key, "path": path} for key, path in request.secret_files.items()]
    return {"name": _VOLUME, "secret": {"secretName": request.secret, "items": items, "defaultMode": _READABLE}}


def equip(container: Mapping[str, Any], request: Request, settings: PodSettings, own_of_main: Env) -> dict[str, Any]:
    """A container of the user's with its variables and secrets."""
    env = environment(container.get("env") or [], request, settings, own_of_main)
    mounts = {"volumeMounts": [mount()]} if request.secret_files else {}
    return merged({"terminationMessagePolicy": "FallbackToLogsOnError", **container, "env": env}, mounts)


def references(request: Request) -> Env:
    """The attempt's variables that are in Secrets; those of its own go before those that are there for all."""
    of_all = [reference(name, secret, name) for name, secret in request.secret_refs.items()]
    return of_all + [reference(name, request.secret, name) for name in request.secret_env]


def reference(name: str, secret: str, key: str) -> dict[str, Any]:
    """A variable that is kept in a Secret."""
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
