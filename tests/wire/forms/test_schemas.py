"""Types as schemas, and schemas as types."""

from typing import Any

import pytest
from flyteidl2.core import types_pb2 as t
from flyteidl2.core.types_pb2 import LiteralType, SimpleType

from alula.core.errors import Invalid
from alula.wire.forms.schemas import schema
from alula.wire.forms.trail import Trail
from alula.wire.forms.types import literal_type

INT, STR = LiteralType(simple=SimpleType.INTEGER), LiteralType(simple=SimpleType.STRING)
MULTIPART = t.BlobType.MULTIPART
BLOB = {
    "uri": {"type": "string", "default": ""},
    "format": {"type": "string", "default": "csv"},
    "dimensionality": {"type": "string", "enum": ["SINGLE", "MULTIPART"], "default": "MULTIPART"},
}


def struct(**metadata: Any) -> LiteralType:
    return LiteralType(simple=SimpleType.STRUCT, metadata=metadata)


def simple(name: str) -> LiteralType:
    return LiteralType(simple=name)


def tagged(of: LiteralType, tag: str) -> LiteralType:
    made = LiteralType()
    made.CopyFrom(of)
    made.structure.tag = tag
    return made


def union(*variants: LiteralType) -> LiteralType:
    return LiteralType(union_type=t.UnionType(variants=variants))


PERSON = struct(type="object", title="Person", properties={"age": {"type": "integer"}}, required=["age"])
# The shapes that consoles know.
TABLE: list[tuple[LiteralType, dict[str, Any]]] = [
    (simple("NONE"), {"type": "null"}),
    (simple("STRING"), {"type": "string"}),
    (simple("INTEGER"), {"type": "integer"}),
    (simple("BOOLEAN"), {"type": "boolean"}),
    (simple("FLOAT"), {"type": "number", "format": "float"}),
    (simple("DATETIME"), {"type": "string", "format": "datetime"}),
    (simple("DURATION"), {"type": "string", "format": "duration"}),
    (simple("BINARY"), {"type": "string", "format": "binary"}),
    (simple("ERROR"), {"type": "string", "format": "error"}),
    (simple("STRUCT"), {"type": "object", "additionalProperties": True}),
    (PERSON, {
        "type": "object", "dataclass": "Person", "properties": {"age": {"type": "integer"}}, "required": ["age"],
    }),
    (LiteralType(blob=t.BlobType(format="csv", dimensionality=MULTIPART)), {
        "type": "object", "format": "blob", "properties": BLOB,
    }),
    (LiteralType(collection_type=INT), {"type": "array", "items": {"type": "integer"}}),
    (LiteralType(map_value_type=LiteralType(collection_type=STR)), {
        "type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}},
    }),
    (LiteralType(enum_type=t.EnumType(values=["B", "A"])), {"type": "string", "enum": ["B", "A"]}),
    (LiteralType(structured_dataset_type=t.StructuredDatasetType()), {
        "type": "object", "format": "structured-dataset",
        "properties": {"uri": {"type": "string"}, "format": {"type": "string"}},
    }),
    (LiteralType(structured_dataset_type=t.StructuredDatasetType(
        format="parquet", columns=[t.StructuredDatasetType.DatasetColumn(name="a", literal_type=INT)]
    )), {
        "type": "object", "format": "structured-dataset",
        "properties": {"uri": {"type": "string"}, "format": {"type": "string", "default": "parquet"}},
        "columns": [{"name": "a", "schema": {"type": "integer"}}],
    }),
    (LiteralType(schema=t.SchemaType(columns=[{"name": "a", "type": "DATETIME"}])), {
        "type": "object", "format": "schema", "properties": {"uri": {"type": "string"}},
        "columns": [{"name": "a", "type": "DATETIME"}],
    }),
    (union(tagged(INT, "int"), tagged(PERSON, "Object-Dataclass-Transformer"), tagged(simple("NONE"), "none")), {
        "format": "union",
        "oneOf": [
            {"type": "integer", "title": "integer", "structure": "int"},
            {
                "type": "object", "dataclass": "Person", "properties": {"age": {"type": "integer"}},
                "required": ["age"], "title": "Person", "structure": "Object-Dataclass-Transformer",
            },
            {"type": "null", "title": "none", "structure": "none"},
        ],
    }),
    (LiteralType(simple=SimpleType.STRING, metadata={"pattern": "^s3"}), {"type": "string", "pattern": "^s3"}),
]  # fmt: skip
TITLES = {
    "string": STR, "integer": INT, "number": simple("FLOAT"), "boolean": simple("BOOLEAN"),
    "datetime": simple("DATETIME"), "duration": simple("DURATION"), "object": simple("STRUCT"),
    "binary": simple("BINARY"), "none": simple("NONE"), "array": LiteralType(collection_type=INT),
    "blob": LiteralType(blob=t.BlobType()), "enum": LiteralType(enum_type=t.EnumType(values=["A"])),
    "structured_dataset": LiteralType(structured_dataset_type=t.StructuredDatasetType()), "union": union(INT),
    "Person": PERSON,
}  # fmt: skip


@pytest.mark.parametrize(("of", "expected"), TABLE, ids=lambda v: str(v)[:30].strip())
def test_a_type_and_its_schema(of: LiteralType, expected: dict[str, Any]) -> None:
    assert schema(of, Trail("x")) == expected
    assert literal_type(expected, Trail("x")) == of


@pytest.mark.parametrize(("title", "of"), TITLES.items())
def test_the_titles_of_variants(title: str, of: LiteralType) -> None:
    made: Any = schema(union(of), Trail("x"))
    assert made["oneOf"][0]["title"] == title


def test_a_type_that_is_not_set_is_none() -> None:
    assert schema(LiteralType(), Trail("x")) == {"type": "null"}


def test_a_dataclass_loses_only_that_it_has_no_other_fields() -> None:
    closed = struct(type="object", title="P", additionalProperties=False, properties={"a": {"type": "integer"}})
    told = schema(closed, Trail("x"))
    assert told == {"type": "object", "dataclass": "P", "properties": {"a": {"type": "integer"}}}


def test_a_protobuf_message_is_an_object() -> None:
    assert schema(struct(pb_type="a.B"), Trail("x")) == {"type": "object", "pb_type": "a.B"}
    assert literal_type({"type": "object", "pb_type": "a.B"}, Trail("x")).metadata["pb_type"] == "a.B"


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"type": "array"}, LiteralType(collection_type=STR)),
        ({"type": "integer", "format": "datetime"}, simple("DATETIME")),
        ({"type": "integer", "format": "duration"}, simple("DURATION")),
        ({"type": "string", "format": "something"}, STR),
        ({"type": "object", "format": "blob"}, LiteralType(blob=t.BlobType())),
        ({"type": "object", "additionalProperties": False}, simple("STRUCT")),
    ],
)
def test_schemas_that_others_write(told: Any, expected: LiteralType) -> None:
    assert literal_type(told, Trail("x")) == expected


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (3, "x: 3 is no schema"),
        ({}, "x: type: None is unknown"),
        ({"type": "foo"}, "x: type: 'foo' is unknown"),
        ({"type": ["string"]}, "x: type"),
        ({"oneOf": 3}, "x.oneOf: 3 is no list"),
        ({"oneOf": [{"type": "foo"}]}, "x.oneOf[0]: type"),
        ({"oneOf": [{"type": "null", "structure": 3}]}, "x.oneOf[0].structure"),
        ({"type": "string", "enum": [1]}, "x.enum[0]: 1 is no string"),
        ({"type": "array", "items": 1}, "x.items: 1 is no schema"),
        ({"type": "object", "format": "blob", "properties": {"dimensionality": {"default": "MANY"}}}, "MULTIPART"),
        ({"type": "object", "format": "blob", "properties": {"format": {"default": 3}}}, "x.format"),
        ({"type": "object", "format": "schema", "columns": [{"name": "a", "type": "?"}]}, "x.columns[0].type"),
        ({"type": "object", "format": "structured-dataset", "columns": [3]}, "x.columns[0]"),
        ({"type": "object", "format": "structured-dataset", "columns": [{"name": "a"}]}, "x.columns[0].schema"),
    ],
)
def test_what_is_no_schema(told: Any, words: str) -> None:
    with pytest.raises(Invalid) as caught:
        literal_type(told, Trail("x"))
    assert words in str(caught.value)
