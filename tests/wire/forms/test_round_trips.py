"""Any literal of any type comes back from JSON as it was; any type from its schema."""

from typing import Any

import msgpack
from flyteidl2.core import literals_pb2 as pb
from flyteidl2.core import types_pb2 as t
from flyteidl2.core.types_pb2 import LiteralType, SimpleType
from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from alula.core.errors import Invalid
from alula.wire.forms.read import read
from alula.wire.forms.schemas import schema
from alula.wire.forms.shown import shown
from alula.wire.forms.structs import message, plain
from alula.wire.forms.trail import Trail
from alula.wire.forms.types import literal_type

Typed = tuple[LiteralType, st.SearchStrategy[pb.Literal]]
TEXT = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(
    ["2026-01-31T12:00:00Z", "1h", "PT1S", "5", "NaN", "AAAA", "null", "A", "$msgpack", "value", "type"]
)
KEYS = st.sampled_from(["uri", "format", "z", "$msgpack", "$offloaded", "value", "title", "a"]) | TEXT
INT64 = st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3)


def primitive(name: str, values: st.SearchStrategy[Any], **more: Any) -> Typed:
    literals = values.map(lambda value: pb.Literal(scalar=pb.Scalar(primitive=pb.Primitive(**{name: value}))))
    return LiteralType(**more), literals


def simple(name: SimpleType, field: str, values: st.SearchStrategy[Any]) -> Typed:
    return primitive(field, values, simple=name)


def blob(form: str, dimension: Any) -> Typed:
    kind = t.BlobType(format=form, dimensionality=dimension)

    def made(uri: str, told: str, digest: str) -> pb.Literal:
        kept = t.BlobType(format=told, dimensionality=dimension)
        return pb.Literal(scalar=pb.Scalar(blob=pb.Blob(uri=uri, metadata=pb.BlobMetadata(type=kept))), hash=digest)

    return LiteralType(blob=kind), st.builds(made, TEXT.filter(bool), TEXT, TEXT)


def dataset(form: str) -> Typed:
    kind = t.StructuredDatasetType(format=form)
    kind.columns.add(name="a", literal_type=LiteralType(simple=SimpleType.INTEGER))

    def made(uri: str, told: str) -> pb.Literal:
        stored = pb.StructuredDataset(uri=uri)
        stored.metadata.structured_dataset_type.CopyFrom(kind)
        stored.metadata.structured_dataset_type.format = told
        return pb.Literal(scalar=pb.Scalar(structured_dataset=stored))

    return LiteralType(structured_dataset_type=kind), st.builds(made, TEXT.filter(bool), TEXT)


def table() -> Typed:
    kind = t.SchemaType(columns=[{"name": "a", "type": "FLOAT"}])
    literals = TEXT.filter(bool).map(lambda uri: pb.Literal(scalar=pb.Scalar(schema=pb.Schema(uri=uri, type=kind))))
    return LiteralType(schema=kind), literals


def error() -> Typed:
    def made(text: str, node: str) -> pb.Literal:
        return pb.Literal(scalar=pb.Scalar(error=t.Error(message=text, failed_node_id=node)))

    return LiteralType(simple=SimpleType.ERROR), st.builds(made, TEXT, TEXT)


def binary() -> Typed:
    def made(value: bytes, tag: str) -> pb.Literal:
        return pb.Literal(scalar=pb.Scalar(binary=pb.Binary(value=value, tag=tag)))

    return LiteralType(simple=SimpleType.BINARY), st.builds(made, st.binary(max_size=8), TEXT)


def packed(value: Any) -> pb.Literal:
    return pb.Literal(scalar=pb.Scalar(binary=pb.Binary(value=msgpack.packb(value), tag="msgpack")))


FREE = st.recursive(
    st.none() | st.booleans() | INT64 | st.floats() | TEXT | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT | INT64, inner, max_size=3),
    max_leaves=8,
)
SCHEMA = {
    "type": "object", "title": "C", "required": ["z", "a"],
    "properties": {
        "z": {"type": "integer"}, "a": {"type": "number"}, "raw": {"type": "string", "format": "base64"},
        "text": {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]},
        "many": {"type": "array", "items": {"type": "object", "additionalProperties": {"type": "boolean"}}},
        "keyed": {
            "type": "object", "propertyNames": {"type": "integer"}, "additionalProperties": {"type": "string"},
        },
        "free": {"type": "object", "additionalProperties": True}, "enum": {"enum": [1, "x"]},
    },
}  # fmt: skip
CLASS = st.fixed_dictionaries(
    {"z": st.integers(-(2**63), 2**64 - 1), "a": st.floats()},
    optional={
        "raw": st.binary(max_size=4), "text": TEXT | INT64 | st.none(), "enum": st.sampled_from([1, "x"]),
        "many": st.lists(st.dictionaries(TEXT, st.booleans(), max_size=2), max_size=2),
        "keyed": st.dictionaries(INT64, TEXT, max_size=2), "free": st.dictionaries(TEXT, FREE, max_size=2),
    },
)  # fmt: skip


def generic() -> Typed:
    def made(value: dict[str, Any]) -> pb.Literal:
        kept = Struct()
        kept.update(value)
        return pb.Literal(scalar=pb.Scalar(generic=kept))

    values = st.dictionaries(TEXT, st.none() | st.booleans() | TEXT | st.lists(TEXT, max_size=2), max_size=2)
    return LiteralType(simple=SimpleType.STRUCT, metadata={"type": "object", "pb_type": "a.B"}), values.map(made)


LEAVES: st.SearchStrategy[Typed] = st.sampled_from([
    simple(SimpleType.INTEGER, "integer", INT64),
    simple(SimpleType.FLOAT, "float_value", st.floats(allow_nan=False) | st.integers(-3, 3).map(float)),
    simple(SimpleType.STRING, "string_value", TEXT),
    simple(SimpleType.BOOLEAN, "boolean", st.booleans()),
    simple(SimpleType.DATETIME, "datetime", st.builds(
        Timestamp, seconds=st.integers(-62_135_596_800, 253_402_300_799), nanos=st.integers(0, 999_999_999)
    )),
    simple(SimpleType.DURATION, "duration", st.builds(
        Duration, seconds=st.integers(0, 10**9), nanos=st.integers(0, 999_999_999)
    )),
    primitive("string_value", st.sampled_from(["A", "B"]), enum_type=t.EnumType(values=["A", "B"])),
    (LiteralType(simple=SimpleType.NONE), st.just(pb.Literal(scalar=pb.Scalar(none_type=pb.Void())))),
    (LiteralType(simple=SimpleType.STRUCT), st.dictionaries(KEYS | INT64, FREE, max_size=3).map(packed)),
    (LiteralType(simple=SimpleType.STRUCT, metadata=SCHEMA), CLASS.map(packed)),
    blob("csv", t.BlobType.SINGLE), blob("", t.BlobType.MULTIPART), dataset("parquet"), table(), error(), binary(),
    generic(),
])  # fmt: skip


def listed(inner: Typed) -> Typed:
    items = st.lists(inner[1], max_size=3)
    collected = items.map(lambda found: pb.Literal(collection=pb.LiteralCollection(literals=found)))
    return LiteralType(collection_type=inner[0]), collected


def mapped(inner: Typed) -> Typed:
    values = st.dictionaries(KEYS, inner[1], max_size=3)
    return LiteralType(map_value_type=inner[0]), values.map(lambda found: pb.Literal(map=pb.LiteralMap(literals=found)))


def united(inner: list[Typed], tags: list[str]) -> Typed:
    variants, made = [], []
    for (kind, literals), tag in zip(inner, tags, strict=False):
        variant = LiteralType()
        variant.CopyFrom(kind)
        if tag:
            variant.structure.tag = tag
        variants.append(variant)

        def wrap(value: pb.Literal, variant: LiteralType = variant) -> pb.Literal:
            return pb.Literal(scalar=pb.Scalar(union=pb.Union(value=value, type=variant)))

        made.append(literals.map(wrap))
    return LiteralType(union_type=t.UnionType(variants=variants)), st.one_of(made)


def deeper(inner: st.SearchStrategy[Typed]) -> st.SearchStrategy[Typed]:
    tags = st.lists(st.sampled_from(["", "int", "str", "Object-Dataclass-Transformer"]), min_size=4, max_size=4)
    unions = st.builds(united, st.lists(inner, min_size=1, max_size=4), tags)
    return inner.map(listed) | inner.map(mapped) | unions


TYPED = st.recursive(LEAVES, deeper, max_leaves=6)


@st.composite
def literals(draw: st.DrawFn) -> tuple[LiteralType, pb.Literal]:
    kind, values = draw(TYPED)
    return kind, draw(values)


def opened(literal: pb.Literal) -> Any:
    """A literal to compare: what is packed is unpacked, as the order of its keys tells nothing."""
    match literal.WhichOneof("value"):
        case "collection":
            return [opened(item) for item in literal.collection.literals]
        case "map":
            return {key: opened(item) for key, item in literal.map.literals.items()}
        case "scalar" if literal.scalar.HasField("union"):
            return literal.scalar.union.type.SerializeToString(deterministic=True), opened(literal.scalar.union.value)
        case "scalar" if literal.scalar.binary.tag == "msgpack":
            return repr_sorted(msgpack.unpackb(literal.scalar.binary.value, strict_map_key=False))
        case _:
            return literal


def repr_sorted(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(sorted(f"{key!r}: {repr_sorted(item)}" for key, item in value.items())) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(repr_sorted, value)) + "]"
    # 1 and 1.0 are one number to JSON, and to Python; only a typed literal tells them apart
    return repr(int(value)) if isinstance(value, float) and value.is_integer() else repr(value)


@settings(max_examples=400, deadline=None)
@given(literals())
def test_a_literal_comes_back(typed: tuple[LiteralType, pb.Literal]) -> None:
    of, literal = typed
    told = shown(of, literal, Trail("x"))
    sent = Struct.FromString(message({"x": told}).SerializeToString())
    again = read(of, plain(sent, Trail("values"))["x"], Trail("values.x"))
    assert opened(again) == opened(literal), told


@settings(max_examples=200, deadline=None)
@given(TYPED)
def test_a_type_comes_back(typed: Typed) -> None:
    of = typed[0]
    told = Struct.FromString(message(schema(of, Trail("x"))).SerializeToString())
    assert literal_type(plain(told, Trail("json")), Trail("json")) == of


@settings(max_examples=200, deadline=None)
@given(TYPED, st.recursive(
    st.none() | st.booleans() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
))  # fmt: skip
def test_any_json_is_read_or_refused_with_its_path(typed: Typed, value: Any) -> None:
    refusal = ""
    try:
        read(typed[0], value, Trail("values.x"))
    except Invalid as error:
        refusal = str(error)
    assert not refusal or refusal.startswith("values.x")
