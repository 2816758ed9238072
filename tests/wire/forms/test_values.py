"""JSON values as literals: which variant of a union they take, and how they are refused."""

from typing import Any

import pytest
from flyteidl2.core import literals_pb2 as pb
from flyteidl2.core import types_pb2 as t
from flyteidl2.core.types_pb2 import LiteralType

from alula.core.errors import Invalid
from alula.wire.forms.kinds import title
from alula.wire.forms.read import read
from alula.wire.forms.shown import shown
from alula.wire.forms.trail import Trail
from tests.wire.forms.test_schemas import INT, PERSON, STR, simple, struct, tagged, union

FLOAT, TIME, SPAN, BOOL, NONE = (simple(name) for name in ("FLOAT", "DATETIME", "DURATION", "BOOLEAN", "NONE"))
ENUM = LiteralType(enum_type=t.EnumType(values=["RED", "BLUE"]))
FILE = LiteralType(blob=t.BlobType(format="csv"))
FOLDER = LiteralType(blob=t.BlobType(dimensionality=t.BlobType.MULTIPART))
TABLE = LiteralType(structured_dataset_type=t.StructuredDatasetType(format="parquet"))
DICT = LiteralType(map_value_type=STR)
INTS, STRS = LiteralType(collection_type=INT), LiteralType(collection_type=STR)
CAR = struct(type="object", title="Car", properties={"speed": {"type": "number"}}, required=["speed"])
CLOSED = struct(type="object", title="C", properties={"a": {"type": "integer"}}, additionalProperties=False)
HERE = Trail("values.x")


def as_read(of: LiteralType, value: Any) -> pb.Literal:
    return read(of, value, Trail("values.x"))


@pytest.mark.parametrize(
    ("variants", "value", "expected"),
    [
        ((INT, FLOAT), 1.0, "integer"),
        ((FLOAT, INT), 1.0, "integer"),
        ((INT, FLOAT), 1.5, "number"),
        ((INT, STR), "5", "string"),
        ((INT, STR), 5.0, "integer"),
        ((INT, BOOL), True, "boolean"),
        ((FLOAT, SPAN), 1.5, "number"),
        ((STR, TIME), "2026-01-31T12:00:00Z", "datetime"),
        ((STR, TIME), "noon", "string"),
        ((STR, SPAN), "PT1H", "duration"),
        ((STR, SPAN), "5", "string"),
        ((STR, ENUM), "RED", "enum"),
        ((STR, ENUM), "GREEN", "string"),
        ((INT, NONE), None, "none"),
        ((INT, NONE), {"type": "null"}, "none"),
        ((DICT, PERSON), {"age": 3.0}, "Person"),
        ((DICT, PERSON), {"age": "3"}, "object"),
        ((PERSON, CAR), {"speed": 1.0}, "Car"),
        ((PERSON, CAR), {"age": 1.0, "name": "A"}, "Person"),
        ((FILE, TABLE), {"uri": "s3://a", "format": "x"}, "structured_dataset"),
        ((TABLE, FILE), {"uri": "s3://a", "format": "x", "dimensionality": "SINGLE"}, "blob"),
        ((STRS, INT), [], "array"),
        ((STR, TIME), {"structure": "", "title": "string", "value": "2026-01-31T12:00:00Z"}, "string"),
        ((INT, FLOAT), {"title": "number", "value": 1.0}, "number"),
        ((INT, FLOAT), {"variant": 1.0, "value": 1.0}, "number"),
        ((DICT, INT), {"title": "of a book", "value": "v"}, "object"),
    ],
)
def test_the_best_variant(variants: tuple[LiteralType, ...], value: Any, expected: str) -> None:
    chosen = as_read(union(*variants), value).scalar.union.type
    assert title(chosen) == expected


def test_a_tag_names_a_variant() -> None:
    of = union(tagged(INT, "int"), tagged(FLOAT, "float"))
    assert as_read(of, {"structure": "float", "value": 1}).scalar.union.type.structure.tag == "float"


@pytest.mark.parametrize(
    ("variants", "literal", "index", "expected"),
    [
        ((INT, FLOAT), {"integer": 1}, 0, 1),
        ((INT, FLOAT), {"float_value": 1.5}, 1, 1.5),
        ((INT, FLOAT), {"float_value": 1.0}, 1, {"title": "number", "value": 1.0}),
        ((STR, TIME), {"string_value": "noon"}, 0, "noon"),
        (
            (STR, TIME),
            {"string_value": "2026-01-31T12:00:00Z"},
            0,
            {"title": "string", "value": "2026-01-31T12:00:00Z"},
        ),
        ((INT, NONE), {"integer": 1}, 0, 1),
    ],
)
def test_a_variant_is_named_only_where_it_has_to_be(
    variants: tuple[LiteralType, ...], literal: dict[str, Any], index: int, expected: Any
) -> None:
    inner = pb.Literal(scalar=pb.Scalar(primitive=pb.Primitive(**literal)))
    made = pb.Literal(scalar=pb.Scalar(union=pb.Union(value=inner, type=variants[index])))
    assert shown(union(*variants), made, HERE) == expected


@pytest.mark.parametrize(
    ("of", "value", "words"),
    [
        (INT, None, "values.x: null is given for what is not optional: give an integer"),
        (union(INT, STR), None, "values.x: null is given"),
        (STR, 3.0, "values.x: 3.0 is no string"),
        (BOOL, "true", "values.x: 'true' is not true or false"),
        (NONE, 3, "values.x: 3 is not null"),
        (INTS, 3, "values.x: 3 is no list"),
        (INTS, [1, 2.5], "values.x[1]: 2.5 is no whole number"),
        (DICT, {"a": "b", "c": {}}, "values.x.c: an object is no string"),
        (DICT, [], "values.x: a list is no object"),
        (LiteralType(collection_type=DICT), [{"a": 3}], "values.x[0].a"),
        (ENUM, "GREEN", "values.x: 'GREEN' is none of RED, BLUE"),
        (PERSON, {}, "values.x.age: is missing"),
        (PERSON, {"age": "old"}, "values.x.age: 'old' is no integer"),
        (PERSON, 3, "values.x: 3 is no object"),
        (simple("STRUCT"), 3, "values.x: 3 is no object"),
        (CLOSED, {"a": 1, "b": 2}, "values.x.b: is no field: the fields are a"),
        (FILE, "s3://a", "values.x: 's3://a' is no object with a uri"),
        (FILE, {"format": "csv"}, "values.x.uri: is missing"),
        (FILE, {"uri": "s3://a", "size": 1}, "values.x.size: is no field"),
        (FILE, {"uri": "s3://a", "dimensionality": "MULTIPART"}, "values.x.dimensionality: 'MULTIPART' is given"),
        (FILE, {"uri": "s3://a", "dimensionality": 7}, "values.x.dimensionality: '7' is given"),
        (TABLE, {"uri": 3}, "values.x.uri: 3 is no string"),
        (simple("BINARY"), "?", "values.x: '?' is no base64"),
        (simple("BINARY"), {"value": "", "tags": ""}, "values.x.tags: is no field"),
        (simple("ERROR"), 3, "values.x: 3 is no string"),
        (union(INT, TIME), "noon", "values.x: fits no variant of the union (as integer: 'noon' is no integer; as date"),
        (union(INT, NONE), "noon", "values.x: 'noon' is no integer"),
        (struct(properties={"a": {"$ref": "#/$defs/B"}}), {"a": 1}, "the type's schema has no '#/$defs/B'"),
        (struct(properties={"a": {"type": "array", "items": {"anyOf": [{"type": "null"}, {"type": "integer"}]}}}),
         {"a": [1, "x"]}, "values.x.a[1]: fits no variant: values.x.a[1]: 'x' is not null"),
        (simple("STRUCT"), {"$msgpack": "?"}, "values.x.$msgpack: '?' is no base64"),
        (simple("STRUCT"), {"$msgpack": "wQ=="}, "values.x.$msgpack: is no MessagePack"),
        (INT, {"$offloaded": {"uri": 3, "size_bytes": 1}}, "values.x.$offloaded.uri: 3 is no string"),
        (STR, "x" * 100, ""),
        (INT, "x" * 100, "values.x: 'xxxxx"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_with_its_path(of: LiteralType, value: Any, words: str) -> None:
    if not words:
        assert as_read(of, value).scalar.primitive.string_value == value
        return
    with pytest.raises(Invalid) as caught:
        as_read(of, value)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("of", "value", "expected"),
    [
        (FILE, {"uri": "s3://a"}, pb.Scalar(blob=pb.Blob(uri="s3://a", metadata={"type": {"format": "csv"}}))),
        (FOLDER, {"uri": "s3://a", "dimensionality": 1.0}, pb.Scalar(
            blob=pb.Blob(uri="s3://a", metadata={"type": {"dimensionality": "MULTIPART"}})
        )),
        (TABLE, {"uri": "s3://a"}, pb.Scalar(structured_dataset=pb.StructuredDataset(
            uri="s3://a", metadata={"structured_dataset_type": {"format": "parquet"}}
        ))),
        (simple("ERROR"), "why", pb.Scalar(error=t.Error(message="why"))),
        (simple("ERROR"), {"message": "why", "failed_node_id": "n"},
         pb.Scalar(error=t.Error(message="why", failed_node_id="n"))),
        (simple("BINARY"), "AAE=", pb.Scalar(binary=pb.Binary(value=b"\0\1"))),
        (struct(pb_type="a.B"), {"a": 1}, pb.Scalar(generic={"a": 1})),
    ],
)  # fmt: skip
def test_other_literals(of: LiteralType, value: Any, expected: pb.Scalar) -> None:
    assert as_read(of, value).scalar == expected


@pytest.mark.parametrize(
    ("of", "literal", "words"),
    [
        (INT, pb.Literal(), "holds nothing, and its variable integer"),
        (
            STR,
            pb.Literal(scalar=pb.Scalar(primitive=pb.Primitive(integer=1))),
            "holds integer, and its variable string",
        ),
        (INTS, pb.Literal(map=pb.LiteralMap()), "holds map, and its variable list"),
        (INTS, pb.Literal(collection=pb.LiteralCollection(literals=[pb.Literal()])), "values.x[0]: holds nothing"),
        (union(INT, NONE), pb.Literal(map=pb.LiteralMap()), "none of its variable's variants"),
        (PERSON, pb.Literal(scalar=pb.Scalar(binary=pb.Binary(value=b"\xc1", tag="msgpack"))), "is no MessagePack"),
    ],
)
def test_a_literal_of_another_type(of: LiteralType, literal: pb.Literal, words: str) -> None:
    with pytest.raises(Invalid, match=words.replace("[", r"\[")):
        shown(of, literal, Trail("values.x"))


@pytest.mark.parametrize(
    ("of", "value", "expected"),
    [(INT, b"\x05", 5), (STR, b"\xa1a", "a"), (union(INT, NONE), b"\xc0", {"type": "null"}), (INTS, b"\x91\x01", [1])],
)
def test_what_was_taken_out_of_a_dataclass(of: LiteralType, value: bytes, expected: Any) -> None:
    packed = pb.Literal(scalar=pb.Scalar(binary=pb.Binary(value=value, tag="msgpack")))
    assert shown(of, packed, HERE) == expected
