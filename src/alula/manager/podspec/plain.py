"""Plain values: what JSON and YAML hold, taken out of protobuf's Struct and merged."""

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import struct_pb2
from google.protobuf.json_format import MessageToDict

# Lists whose items have a name among their own kind: an item takes the place of its namesake.
_NAMED = {
    "env": "name", "volumes": "name", "imagePullSecrets": "name", "resourceClaims": "name", "claims": "name",
    "volumeMounts": "mountPath", "volumeDevices": "devicePath", "ports": "containerPort", "hostAliases": "ip",
}  # fmt: skip
# Lists that are sets.
_SETS = frozenset({"tolerations", "topologySpreadConstraints", "envFrom", "add", "drop", "sysctls", "schedulingGates"})


def plain(struct: struct_pb2.Struct) -> dict[str, Any]:
    """A Struct's fields. It holds every number as a float; whole ones are integers here, as Kubernetes wants them."""
    found: dict[str, Any] = _whole(MessageToDict(struct))
    return found


def _whole(value: Any) -> Any:
    match value:
        case dict():
            return {key: _whole(item) for key, item in value.items()}
        case list():
            return [_whole(item) for item in value]
        case float() if value.is_integer():
            return int(value)
        case _:
            return value


def copied(value: Any) -> Any:
    """The same plain values, none of them shared with others, nor twice in it."""
    match value:
        case Mapping():
            return {key: copied(item) for key, item in value.items()}
        case list() | tuple():
            return [copied(item) for item in value]
        case _:
            return value


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with everything in it that ``over`` says, too.

    Maps are merged. Of lists, those whose items have names are merged by them, sets are united, and all others (a
    command, say, or the terms of an affinity) are the one of ``over``. What is explicitly false, 0 or empty counts.
    """
    found = dict(base)
    for key, value in over.items():
        found[key] = _joined(key, found[key], value) if key in found else value
    return found


def _joined(key: str, base: Any, over: Any) -> Any:
    match base, over:
        case dict(), dict():
            return merged(base, over)
        case list(), list():
            return _lists(key, base, over)
        case _:
            return over


def _lists(key: str, base: Sequence[Any], over: Sequence[Any]) -> list[Any]:
    if key in _SETS:
        return [*base, *(item for item in over if item not in base)]
    if key not in _NAMED:
        return list(over)
    name = _NAMED[key]
    named = {item.get(name): item for item in base}
    return list((named | {item.get(name): item for item in over}).values())
