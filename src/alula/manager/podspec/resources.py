"""What containers ask for, as Kubernetes spells it (executor.md 5.4)."""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

from flyteidl2.core import tasks_pb2

from alula.core.errors import Invalid
from alula.core.quantity import parse
from alula.manager.plugins.base import BadTask

_R = tasks_pb2.Resources
_NAMES = {_R.CPU: "cpu", _R.MEMORY: "memory", _R.EPHEMERAL_STORAGE: "ephemeral-storage"}
Amounts = dict[str, str]


def resources(asked: tasks_pb2.Resources, gpu: str) -> dict[str, Any]:
    """A container's ``resources``. Storage is no resource of a container; ``gpu`` is the one that GPUs are.

    Raises:
        BadTask: something is no quantity; the message names it.
    """
    found = {"requests": _amounts(asked.requests, gpu), "limits": _amounts(asked.limits, gpu)}
    return {key: amounts for key, amounts in found.items() if amounts}


def completed(said: Mapping[str, Any], defaults: Mapping[str, str]) -> dict[str, Any]:
    """The resources of a primary container, with nothing left out.

    A missing request is the limit, else the default; a missing limit is the request. What is not CPU, memory or disk
    cannot be lent: its requests are its limits.

    Raises:
        BadTask: something is no quantity; the message names it.
    """
    requests, limits = _said(said, "requests"), _said(said, "limits")
    for name in [*defaults, *requests, *limits]:
        request = requests.get(name) or limits.get(name) or defaults[name]
        limit = limits.get(name) or request
        requests[name] = limit if name not in _NAMES.values() else min(request, limit, key=lambda q: _number(name, q))
        limits[name] = limit
    return {**said, "requests": requests, "limits": limits}


def clamped(said: Mapping[str, Any]) -> dict[str, Any]:
    """The resources of any other container: no request above its limit."""
    requests, limits = _said(said, "requests"), _said(said, "limits")
    for name, request in requests.items():
        requests[name] = min(request, limits.get(name, request), key=lambda q: _number(name, q))
    return {**said, **{key: value for key, value in (("requests", requests), ("limits", limits)) if value}}


def requested(containers: Iterable[Mapping[str, Any]]) -> set[str]:
    """The names of all resources that containers ask for."""
    asked = (one.get("resources") or {} for one in containers)
    return {name for said in asked for amounts in (said.get("requests"), said.get("limits")) for name in amounts or {}}


def quantity(text: str, place: str) -> str:
    """A quantity, checked.

    Raises:
        BadTask: it is none.
    """
    _number(place, text)
    return text


def _amounts(entries: Iterable[_R.ResourceEntry], gpu: str) -> Amounts:
    names = {**_NAMES, _R.GPU: gpu}
    return {names[one.name]: quantity(one.value, names[one.name]) for one in entries if one.name in names and one.value}


def _said(said: Mapping[str, Any], key: str) -> Amounts:
    amounts = said.get(key) or {} if isinstance(said, Mapping) else said
    if not isinstance(amounts, Mapping):
        raise BadTask(f"resources: {key} are to be amounts by the names of what is asked for, and are {amounts!r}")
    return {name: str(amount) for name, amount in amounts.items()}


def _number(name: str, text: str) -> Fraction:
    try:
        return parse(text)
    except Invalid as error:
        raise BadTask(f"resources: {name}: {error}") from None
