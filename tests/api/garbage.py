"""Requests of every kind, from almost right to none at all, built from a message's descriptor."""

import json
from collections.abc import Sequence
from functools import cache
from typing import Any

from buf.validate import validate_pb2
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor, OneofDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

_PLACE = {"project": "flytesnacks", "domain": "development"}
_RUN = {**_PLACE, "name": "seed"}
_OPEN = {**_PLACE, "name": "open"}
_TASK = {**_PLACE, "name": "probe", "version": "v1"}
_TRIGGER = {**_PLACE, "name": "nightly", "task_name": "probe"}
# What there is: a request about something that exists gets further than one about nothing.
KNOWN: dict[str, list[dict[str, Any]]] = {
    "flyteidl2.common.RunIdentifier": [_RUN, _OPEN, {**_PLACE, "name": "tracked"}],
    "flyteidl2.common.ActionIdentifier": [
        {"run": _RUN, "name": "a0"},
        {"run": _OPEN, "name": "a0"},
        {"run": _OPEN, "name": "asked"},
        {"run": {**_PLACE, "name": "tracked"}, "name": "a0"},
    ],
    "flyteidl2.common.ProjectIdentifier": [{"name": "flytesnacks", "domain": "development"}],
    "flyteidl2.task.TaskIdentifier": [_TASK],
    "flyteidl2.task.TaskName": [{**_PLACE, "name": "probe"}],
    "flyteidl2.common.TriggerName": [_TRIGGER],
    "flyteidl2.common.TriggerIdentifier": [{"name": _TRIGGER, "revision": 1}],
    "flyteidl2.app.Identifier": [{**_PLACE, "name": "app"}],
    "flyteidl2.secret.SecretIdentifier": [{**_PLACE, "name": "secret"}],
    "flyteidl2.settings.SettingsKey": [{**_PLACE}, {}],
    "flyteidl2.task.TaskSpec": [
        {
            "task_template": {"type": "container", "id": {"name": "t"}, "container": {"args": ["true"]}},
            "short_name": "t",
        }
    ],
    "google.protobuf.Timestamp": [
        {"seconds": 1_700_000_000},
        {"seconds": 2**63 - 1},
        {"seconds": -(2**63)},
        {"seconds": 253_402_300_800},
        {"nanos": -1},
        {"nanos": 2**31 - 1},
    ],
    "google.protobuf.Duration": [
        {"seconds": 1},
        {"seconds": -1},
        {"seconds": 2**63 - 1},
        {"seconds": 315_576_000_001},
        {"seconds": 1, "nanos": -(2**31)},
    ],
}
_WORDS = {
    "project": ["flytesnacks", "elsewhere"],
    "domain": ["development", "production"],
    "name": ["seed", "open", "a0", "probe", "flytesnacks", "x", "nightly"],
    "org": ["", "acme"],
    "organization": ["", "acme"],
    "version": ["v1"],
    "key": ["k", "created_at", "name"],
    "field": ["phase", "created_at", "name", "state", "run_name"],
    "values": ["5", "x", "%", "2026-01-01T00:00:00Z"],
    "expression": ["* * * * *", "@hourly", "0 0 31 2 *", "*/0 * * * *", "0 12 ? * MON *"],
    "timezone": ["UTC", "Europe/Berlin", "No/Where"],
    "parent_action_name": ["a0"],
    "parent": ["a0"],
    "input_uri": ["s3://alula/x"],
    "run_output_base": ["s3://alula/x"],
    "token": [""],
    "uri": ["s3://alula/x", "s3://elsewhere/x", "file:///etc/passwd"],
    "type": ["container", "python"],
}
_WILD = [
    "", "a", " ", "\0", "a\0b", "ünï cöde", "\u202e", "\U0001f642", "\ufffe", "../..", "/etc/passwd", "%", "_",
    "' OR 1=1 --", "{{.x}}", "{{", "$(x)", "[" * 200, "1e999", "NaN", "-1", "9" * 40, "x" * 64, "x" * 256, "Y" * 5000,
    "http://127.0.0.1:1/", "http://[::1", "file:///", "s3://", "\n\r\t", "a" * 100_000,
]  # fmt: skip
_INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: [0, -1, 201, 2**31 - 1, -(2**31)],
    FieldDescriptor.CPPTYPE_INT64: [0, -1, 2**53 + 1, 2**63 - 1, -(2**63)],
    FieldDescriptor.CPPTYPE_UINT32: [0, 201, 2**31, 2**32 - 1],
    FieldDescriptor.CPPTYPE_UINT64: [0, 2**63, 2**64 - 1],
}
_FLOATS = [0.0, -0.0, -1.0, 1e308, 5e-324, float("nan"), float("inf"), float("-inf")]
_BYTES = [b"", b"\0", b"\xff" * 40, b"\x0a\x05", b"{}", b"z" * 70_000]
_JUNK: list[Any] = [
    None,
    "",
    "\ud800",
    "x\udfffy",
    "\0",
    0,
    -1,
    2**63,
    2**200,
    1e400,
    float("nan"),
    True,
    [],
    {},
    [[]],
    "1e5",
]
_DEEPEST = 5


@st.composite
def messages(draw: st.DrawFn, kind: Descriptor) -> Message:
    """A message of a kind: from one as the protocol wants it to one in which every second thing is odd."""
    return _Maker(draw, draw(st.sampled_from([0, 0, 2, 5, 15, 50]))).message(kind, 0)


class _Maker:
    """Fills messages. ``odd``: percent of the places that are not as they should be."""

    def __init__(self, draw: st.DrawFn, odd: int) -> None:
        self._draw = draw
        self._odd = odd
        self._many = 300

    def _in(self, percent: int) -> bool:
        return self._draw(st.integers(0, 99)) < percent

    def _one(self, choices: Sequence[Any]) -> Any:
        return choices[0] if len(choices) == 1 else self._draw(st.sampled_from(choices))

    def message(self, kind: Descriptor, depth: int) -> Message:
        known = KNOWN.get(kind.full_name)
        if known and self._in(85):
            usual = known[:1] if kind.full_name.startswith("google.") else known
            return GetMessageClass(kind)(**self._one(known if self._in(self._odd) else usual))
        message = GetMessageClass(kind)()
        for oneof in kind.oneofs:
            if self._in(100 - self._odd if _needed(oneof) else 60 - 10 * depth):
                self._set(message, self._one(list(oneof.fields)), depth)
        for field in kind.fields:
            if field.containing_oneof is None and self._in(100 - self._odd if _needed(field) else 60 - 10 * depth):
                self._set(message, field, depth)
        return message

    def _set(self, message: Message, field: FieldDescriptor, depth: int) -> None:
        if field.message_type is not None and depth >= _DEEPEST:
            return
        holder = getattr(message, field.name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            self._fill(holder, field.message_type, depth)
        elif field.is_repeated:
            values = [self._value(field, depth) for _ in range(self._one([1, 1, 2]))]
            if depth < 2 and self._in(self._odd):
                values, self._many = values * self._many, 1  # once: many of many would fill the memory
            holder.extend(values)
        elif field.message_type is not None:
            holder.CopyFrom(self._value(field, depth))
            holder.SetInParent()
        else:
            setattr(message, field.name, self._value(field, depth))

    def _fill(self, holder: Any, entry: Descriptor, depth: int) -> None:
        key = self._value(entry.fields_by_name["key"], depth)
        value = self._value(entry.fields_by_name["value"], depth)
        if isinstance(value, Message):
            holder[key].CopyFrom(value)
        else:
            holder[key] = value

    def _value(self, field: FieldDescriptor, depth: int) -> Any:
        if field.message_type is not None:
            return self.message(field.message_type, depth + 1)
        usual, odd = _pools(field)
        return self._one(odd if self._in(self._odd) else usual)


@cache
def _needed(thing: FieldDescriptor | OneofDescriptor) -> bool:
    """Whether the protocol's rules want it to be there."""
    if isinstance(thing, OneofDescriptor):
        options = thing.GetOptions()
        return options.HasExtension(validate_pb2.oneof) and options.Extensions[validate_pb2.oneof].required
    rules = thing.GetOptions().Extensions[validate_pb2.field]
    return rules.required or rules.WhichOneof("type") is not None or thing.name in _WORDS


@cache
def _pools(field: FieldDescriptor) -> tuple[list[Any], list[Any]]:
    """What may usually stand in a field, and what is odd there."""
    if field.enum_type is not None:
        numbers = [value.number for value in field.enum_type.values]
        rules = field.GetOptions().Extensions[validate_pb2.field].repeated.items
        return getattr(rules.enum, "in") or numbers[1:] or numbers, [0, 99, -1, 2**31 - 1]
    if field.type == FieldDescriptor.TYPE_BYTES:
        return [b"x" * 16], _BYTES
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return _WORDS.get(field.name, ["x", "y-1"]), _WILD
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return [False, True], [True]
    if field.cpp_type in _INTEGERS:
        return [1, 2, 50], _INTEGERS[field.cpp_type]
    return [0.5, 1.0], _FLOATS


@st.composite
def binaries(draw: st.DrawFn, kind: Descriptor) -> bytes:
    """A request in binary: whole, with fields nobody knows, with two members of a oneof, cut, flipped, or nonsense."""
    data = draw(messages(kind)).SerializeToString()
    match draw(st.integers(0, 15)):
        case 0:
            return data + b"\xfa\xff\x0f\x03abc" + b"\xf0\xff\x0f\x01"  # unknown fields
        case 1:
            return data + draw(messages(kind)).SerializeToString()
        case 2:
            return data[: draw(st.integers(0, len(data)))]
        case 3 if data:
            at = draw(st.integers(0, len(data) - 1))
            return data[:at] + bytes([data[at] ^ draw(st.integers(1, 255))]) + data[at + 1 :]
        case 4:
            return draw(st.binary(max_size=60))
        case 5:
            return b"\x0a\x80\x80\x04" * 30 + data  # nested, or so it says
    return data


@st.composite
def texts(draw: st.DrawFn, kind: Descriptor) -> bytes:
    """A request in JSON: whole, with something else in some place, or nonsense."""
    try:
        value = json_format.MessageToDict(draw(messages(kind)))
    except (ValueError, json_format.SerializeToJsonError):  # JSON has no word for some times
        value = {}
    match draw(st.integers(0, 5)):
        case 0 | 1:
            for _ in range(draw(st.integers(1, 3))):
                value = _spoilt(draw, value)
        case 2:
            value["nothing like this"] = draw(st.sampled_from(_JUNK))
        case 3:
            return draw(
                st.sampled_from([b"", b"[", b"nul", b'"\\ud800"', b"{}{}", b"\xff", b"[" * 5000, b'{"a":' * 5000])
            )
    return json.dumps(value).encode()


def _spoilt(draw: st.DrawFn, value: Any) -> Any:
    """A JSON value with something else in one place of it."""
    if isinstance(value, dict) and value and draw(st.integers(0, 3)):
        key = draw(st.sampled_from(sorted(value)))
        return {**value, key: _spoilt(draw, value[key])}
    if isinstance(value, list) and value and draw(st.integers(0, 3)):
        return [_spoilt(draw, value[0]), *value[1:]]
    return draw(st.sampled_from(_JUNK))


FRAMES = st.lists(
    st.one_of(
        st.tuples(st.sampled_from([0, 1, 2, 3, 0x80, 0xFF]), st.binary(max_size=20), st.just(None)),
        st.tuples(st.sampled_from([0, 1]), st.binary(max_size=20), st.sampled_from([0, 1, 5, 2**31, 2**32 - 1])),
    ),
    max_size=4,
).map(lambda frames: b"".join(_frame(*frame) for frame in frames))


def _frame(flags: int, content: bytes, size: int | None) -> bytes:
    return bytes([flags]) + (len(content) if size is None else size).to_bytes(4, "big") + content
