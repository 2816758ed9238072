"""Every request is held against the protocol's own rules (`buf.validate`) before its handler sees it.

One rule is not kept: clients mostly have no organisation, and the rules demand one. It is filled in for the check, and
taken out again: what a client sent is what its answer echoes.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

import protovalidate
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from alula.api.rules import restated
from alula.core.errors import Invalid

_ORG_FIELDS = frozenset({"org", "organization"})
_ORG_MESSAGE = "flyteidl2.common.OrgIdentifier"
_LARGE = 16 * 1024  # bytes; from here on the literals, for which there are no rules, are left out (stack.md 2)
_LITERALS = "inputs"
_MOST = 10  # violations told at once

_validator, _restating = protovalidate.Validator(), protovalidate.Validator()  # each knows a kind by its name alone


def validate(message: Message) -> None:
    """Check a request.

    Raises:
        Invalid: with the path of each field that is wrong, and why.
    """
    filled = list(_fill(message, _plan(message.DESCRIPTOR)))
    try:
        violations = _violations(_without_literals(message))
    finally:
        for holder, field in filled:
            holder.ClearField(field)
    if violations:
        raise Invalid("; ".join(_tell(violations[:_MOST])))


def _violations(message: Message) -> list[protovalidate.Violation]:
    try:
        return list(_validator.collect_violations(message))
    except protovalidate.EvaluationError:
        return list(_restating.collect_violations(restated(message)))


def _tell(violations: Iterable[protovalidate.Violation]) -> Iterator[str]:
    for violation in violations:
        field = violation.proto.field
        path = ".".join(e.field_name for e in field.elements) if field else ""
        yield f"{path}: {violation.proto.message}" if path else violation.proto.message


@dataclass(frozen=True, slots=True)
class _Plan:
    """Where organisations are in a kind of message."""

    own: tuple[str, ...]
    below: tuple[tuple[str, "_Plan"], ...]


@cache
def _plan(kind: Descriptor) -> _Plan:
    return _plan_below(kind, frozenset())


def _plan_below(kind: Descriptor, above: frozenset[str]) -> _Plan:
    if kind.full_name in above:
        return _Plan((), ())
    named = {"name"} if kind.full_name == _ORG_MESSAGE else _ORG_FIELDS
    own = tuple(f.name for f in kind.fields if f.name in named and f.type == FieldDescriptor.TYPE_STRING)
    below = []
    for field in kind.fields:
        if field.message_type is not None and not field.message_type.GetOptions().map_entry:
            plan = _plan_below(field.message_type, above | {kind.full_name})
            if plan.own or plan.below:
                below.append((field.name, plan))
    return _Plan(own, tuple(below))


def _fill(message: Message, plan: _Plan) -> Iterator[tuple[Message, str]]:
    for field in plan.own:
        oneof = message.DESCRIPTOR.fields_by_name[field].containing_oneof
        if not getattr(message, field) and (oneof is None or message.WhichOneof(oneof.name) == field):
            setattr(message, field, "default")
            yield message, field
    for field, below in plan.below:
        if message.DESCRIPTOR.fields_by_name[field].is_repeated:
            for one in getattr(message, field):
                yield from _fill(one, below)
        elif message.HasField(field):
            yield from _fill(getattr(message, field), below)


def _without_literals(message: Message) -> Message:
    field = message.DESCRIPTOR.fields_by_name.get(_LITERALS)
    if field is None or field.message_type is None or not message.HasField(_LITERALS) or message.ByteSize() < _LARGE:
        return message
    light = type(message)()
    light.CopyFrom(message)
    inputs = getattr(light, _LITERALS)
    inputs.Clear()
    inputs.SetInParent()
    return light
