"""Whole forms: fields, defaults, what is required, and their order."""

from typing import Any

import pytest
from flyteidl2.core import interface_pb2
from flyteidl2.core import literals_pb2 as pb
from flyteidl2.core.types_pb2 import LiteralType
from flyteidl2.task import common_pb2, task_definition_pb2
from google.protobuf.struct_pb2 import Struct

from alula.core.errors import Invalid
from alula.wire.forms.launch import literals_of_form, literals_of_values, of_literals, of_task
from alula.wire.forms.read import read
from alula.wire.forms.structs import message, plain
from alula.wire.forms.trail import Trail
from tests.wire.forms.test_schemas import INT, PERSON, STR, simple, struct, union
from tests.wire.forms.test_values import FILE, FLOAT, NONE

NAMES = ["zeta", "alpha", "mid", "b", "y", "a"]


def variables(**types: LiteralType) -> interface_pb2.VariableMap:
    made = interface_pb2.VariableMap()
    for key, of in types.items():
        made.variables.add(key=key, value=interface_pb2.Variable(type=of))
    return made


def literal(of: LiteralType, value: Any) -> pb.Literal:
    return read(of, value, Trail("x"))


def named(**given: tuple[LiteralType, Any]) -> list[common_pb2.NamedLiteral]:
    return [common_pb2.NamedLiteral(name=key, value=literal(*one)) for key, one in given.items()]


def task(inputs: interface_pb2.VariableMap, **defaults: pb.Literal) -> task_definition_pb2.TaskSpec:
    spec = task_definition_pb2.TaskSpec()
    spec.task_template.interface.inputs.CopyFrom(inputs)
    for key, value in defaults.items():
        spec.default_inputs.add(name=key, parameter=interface_pb2.Parameter(default=value))
    return spec


def told(form: Struct) -> dict[str, Any]:
    return plain(form, Trail("json"))


def test_a_task() -> None:
    """Defaults are merged, and what has one is not required."""
    inputs = variables(plain=INT, given=INT, maybe=union(STR, NONE), nothing=union(STR, NONE), file=FILE)
    inputs.variables[0].value.description = "plain"  # the SDK's description of what has none
    inputs.variables[1].value.description = "How many"
    file = literal(FILE, {"uri": "s3://a", "format": "x"})
    spec = task(inputs, given=literal(INT, 3), nothing=literal(union(STR, NONE), None), file=file)
    assert told(of_task(spec)) == {
        "type": "object",
        "title": "Launch Form",
        "required": ["plain"],
        "ui:order": ["plain", "given", "maybe", "nothing", "file"],
        "properties": {
            "plain": {"type": "integer"},
            "given": {"type": "integer", "default": 3, "description": "How many"},
            "maybe": {
                "format": "union",
                "oneOf": [{"type": "string", "title": "string"}, {"type": "null", "title": "none"}],
            },
            "nothing": {
                "format": "union",
                "oneOf": [{"type": "string", "title": "string"}, {"type": "null", "title": "none"}],
                "default": {"type": "null"},
            },
            "file": {
                "type": "object",
                "format": "blob",
                "properties": {
                    "uri": {"type": "string", "default": "s3://a"},
                    "format": {"type": "string", "default": "x"},
                    "dimensionality": {"type": "string", "enum": ["SINGLE", "MULTIPART"], "default": "SINGLE"},
                },
            },
        },
    }


def test_what_a_task_does_not_require() -> None:
    spec = task(variables(a=INT, b=INT))
    spec.default_inputs.add(name="a", parameter=interface_pb2.Parameter(required=False))
    spec.default_inputs.add(name="b", parameter=interface_pb2.Parameter(required=True))
    assert told(of_task(spec))["required"] == ["b"]


def test_an_empty_form() -> None:
    empty = {"type": "object", "properties": {}, "required": [], "title": "Launch Form", "ui:order": []}
    assert told(of_task(task_definition_pb2.TaskSpec())) == empty
    assert told(of_literals([], variables(x=INT))) == empty


def test_literals_and_their_variables() -> None:
    """A literal of no variable, and a variable without literal, are left out."""
    form = of_literals(named(b=(INT, 1), other=(INT, 2), n=(NONE, None)), variables(a=INT, b=INT, n=NONE))
    assert told(form)["ui:order"] == ["b", "n"]
    assert told(form)["required"] == ["b"]
    assert told(form)["properties"]["b"] == {"type": "integer", "default": 1}


def test_order() -> None:
    """A Struct keeps no order; the lists in the form do."""
    inputs = variables(**dict.fromkeys(NAMES, INT))
    mixed = variables(b=union(INT, NONE), a=INT)
    form = of_literals(named(a=(INT, 1), b=(union(INT, NONE), 1)), mixed)
    assert (told(form)["required"], [one.name for one in literals_of_form(form)]) == (["a"], ["b", "a"])
    given = named(**{key: (INT, i) for i, key in enumerate(sorted(NAMES))})
    for _ in range(3):
        form = Struct.FromString(of_literals(given, inputs).SerializeToString())
        assert (told(form)["ui:order"], told(form)["required"]) == (NAMES, NAMES)
        assert [one.name for one in literals_of_form(form)] == NAMES
    values = message(dict.fromkeys(sorted(NAMES), 1))
    assert [one.name for one in literals_of_values(inputs, values)] == NAMES
    del form.fields["ui:order"]
    assert [one.name for one in literals_of_form(form)] == NAMES
    del form.fields["required"]
    assert [one.name for one in literals_of_form(form)] == sorted(NAMES)


def test_forms_as_literals() -> None:
    """A field without default is left out, unless it may be null."""
    form: Any = {
        "properties": {
            "a": {"type": "integer", "default": 3},
            "b": {"type": "integer"},
            "c": {"oneOf": [{"type": "string"}, {"type": "null"}], "format": "union"},
            "file": {"type": "object", "format": "blob", "properties": {"uri": {"default": "s3://f"}}},
            "no_file": {"type": "object", "format": "blob", "properties": {"uri": {"default": ""}}},
            "table": {"type": "object", "format": "structured-dataset", "default": {"uri": "s3://t", "format": "p"}},
            "person": {"type": "object", "dataclass": "P", "properties": {"age": {"type": "integer", "default": 4}}},
            "partly": {
                "type": "object",
                "dataclass": "P",
                "properties": {"age": {"type": "integer", "default": 4}, "name": {"type": "string"}},
                "required": ["age", "name"],
            },
            "free": {"type": "object", "additionalProperties": True},
        }
    }
    made = {one.name: one.value for one in literals_of_form(message(form))}
    assert sorted(made) == ["a", "c", "file", "person", "table"]
    assert made["a"].scalar.primitive.integer == 3
    assert made["c"].scalar.union.value.scalar.HasField("none_type")
    assert made["file"].scalar.blob.uri == "s3://f"
    assert made["person"].scalar.binary.value == b"\x81\xa3age\x04"
    assert made["table"].scalar.structured_dataset.metadata.structured_dataset_type.format == "p"


def test_values_that_may_be_missing() -> None:
    optional = union(STR, NONE)
    [made] = literals_of_values(variables(a=optional), Struct())
    assert made.value.scalar.union.type == NONE
    with pytest.raises(Invalid, match=r"values\.b: is missing"):
        literals_of_values(variables(a=optional, b=PERSON), Struct())
    with pytest.raises(Invalid, match=r"values\.c: is no input: the inputs are a, b"):
        literals_of_values(variables(a=optional, b=FLOAT), message({"b": 1, "c": 2}))
    with pytest.raises(Invalid, match=r"values\.c: is no input: the inputs are none"):
        literals_of_values(variables(), message({"c": 2}))


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({}, "json.properties: is missing"),
        ({"properties": 3}, "json.properties: is missing"),
        ({"properties": {"a": 3}}, "json.properties.a: 3.0 is no schema"),
        ({"properties": {"a": {"type": "integer", "default": 3.9}}}, "json.properties.a.default: 3.9 is no whole"),
        ({"properties": {"a": {"type": "object", "properties": 3}}}, "json.properties.a.properties"),
    ],
)
def test_forms_that_are_none(form: Any, words: str) -> None:
    with pytest.raises(Invalid) as caught:
        literals_of_form(message(form))
    assert words in str(caught.value)


def test_packed_fields_have_an_order() -> None:
    """What is required comes first, as the SDK declares it: the same values make the same bytes, and hit the cache."""
    of = struct(type="object", title="C", required=["z", "a"], properties={k: {"type": "integer"} for k in "abzc"})
    for keys in ("abcz", "zcba"):
        body = literal(of, dict.fromkeys(keys, 1)).scalar.binary.value
        assert body == b"\x84\xa1z\x01\xa1a\x01\xa1b\x01\xa1c\x01"


def test_simple_types_can_be_shown_without_a_literal() -> None:
    for name in ("BINARY", "ERROR", "DATETIME"):
        assert "default" not in told(of_task(task(variables(x=simple(name)))))["properties"]["x"]
