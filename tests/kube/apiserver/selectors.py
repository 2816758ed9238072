"""Selectors of labels and of fields."""

import re
from collections.abc import Callable, Mapping

from alula.kube.objects import Object
from tests.kube.apiserver.refusals import Refusal

Fits = Callable[[Object], bool]
Rule = Callable[[str | None], bool]

_AMONG = re.compile(r"(\S+)\s+(in|notin)\s+\(([^()]*)\)")
_EQUAL = re.compile(r"([^\s=!]+)\s*(=|==|!=)\s*([^\s=!]*)")
_THERE = re.compile(r"(!?)\s*([^\s=!(),]+)")


def selected(labels: str, fields: str) -> Fits:
    """What both selectors select."""
    by_label = [_label(part) for part in re.split(r",(?![^(]*\))", labels) if part.strip()]
    by_field = [_field(part) for part in fields.split(",") if part.strip()]

    def fits(one: Object) -> bool:
        said = one["metadata"].get("labels") or {}
        return all(rule(said.get(key)) for key, rule in by_label) and all(
            rule(_value(one, path)) for path, rule in by_field
        )

    return fits


def _label(part: str) -> tuple[str, Rule]:
    part = part.strip()
    if found := _AMONG.fullmatch(part):
        among = {value.strip() for value in found[3].split(",")}
        return found[1], (among.__contains__ if found[2] == "in" else lambda value: value not in among)
    if found := _EQUAL.fullmatch(part):
        return found[1], _equality(found[2], found[3])
    if found := _THERE.fullmatch(part):
        return found[2], (lambda value: value is None) if found[1] else (lambda value: value is not None)
    raise Refusal(400, f"unable to parse requirement: {part!r}")


def _field(part: str) -> tuple[str, Rule]:
    found = _EQUAL.fullmatch(part.strip())
    if found is None:
        raise Refusal(400, f"invalid selector: {part!r}; can't understand it")
    return found[1], _equality(found[2], found[3])


def _equality(operator: str, wanted: str) -> Rule:
    return (lambda value: value != wanted) if operator == "!=" else (lambda value: value == wanted)


def _value(one: Object, path: str) -> str:
    value: object = one
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return "" if value is None else str(value)
