"""What is nested without end, or far too large, is refused; nothing recurses to the end of the stack."""

import time
from typing import Any

import msgpack
import pytest
from flyteidl2.core import literals_pb2 as pb
from flyteidl2.core.types_pb2 import LiteralType
from flyteidl2.workflow.translator_service_pb2 import TaskSpecToLaunchFormJsonResponse as Answer
from google.protobuf.struct_pb2 import Struct

from alula.core.errors import Invalid
from alula.wire.forms.read import read
from alula.wire.forms.schemas import schema
from alula.wire.forms.shown import shown
from alula.wire.forms.structs import message, plain
from alula.wire.forms.trail import Trail
from alula.wire.forms.types import literal_type
from tests.wire.forms.test_schemas import INT, simple, struct, union

DEEP = 3000


def deep_type(wrap: Any) -> LiteralType:
    made = LiteralType()
    inner = made
    for _ in range(DEEP):
        inner = wrap(inner)
    inner.CopyFrom(INT)
    return made


def deep_value(wrap: Any) -> Any:
    value: Any = 1.0
    for _ in range(DEEP):
        value = wrap(value)
    return value


def deep_literal(wrap: Any) -> pb.Literal:
    made = pb.Literal()
    inner = made
    for _ in range(DEEP):
        inner = wrap(inner)
    return made


TYPES = {
    "list": deep_type(lambda of: of.collection_type),
    "map": deep_type(lambda of: of.map_value_type),
    "union": deep_type(lambda of: of.union_type.variants.add()),
    "columns": deep_type(lambda of: of.structured_dataset_type.columns.add().literal_type),
}
LISTS, MAPS = deep_value(lambda v: [v]), deep_value(lambda v: {"a": v})


@pytest.mark.parametrize("name", TYPES)
def test_deep_types(name: str) -> None:
    with pytest.raises(Invalid, match="levels deep"):
        schema(TYPES[name], Trail("x"))
    for value in (LISTS, MAPS, 1.0, "x"):
        if name != "columns":
            with pytest.raises(Invalid):
                read(TYPES[name], value, Trail("x"))


@pytest.mark.parametrize("value", [LISTS, MAPS])
@pytest.mark.parametrize("of", [simple("STRUCT"), struct(properties={"a": {}}), union(simple("STRUCT"))])
def test_deep_values(of: LiteralType, value: Any) -> None:
    for one in (value, {"a": value}):
        with pytest.raises(Invalid):
            read(of, one, Trail("x"))


def test_deep_structs() -> None:
    made = Struct()
    inner = made
    for _ in range(DEEP):
        inner = inner.fields["a"].struct_value
    inner.SetInParent()
    with pytest.raises(Invalid, match=r"^x\.a\.a: nested more than"):
        plain(made, Trail("x"))
    for value in (LISTS, MAPS):
        with pytest.raises(Invalid, match="nested too deeply"):
            message({"a": value})


@pytest.mark.parametrize("levels", range(25, 50))
def test_every_struct_that_is_sent_can_be_read(levels: int) -> None:
    """Protobuf refuses what is nested more than 100 messages deep; the answer around the form is one of them."""
    for key in ("list", "map"):
        value: Any = 1
        for _ in range(levels):
            value = [value] if key == "list" else {"a": value}
        try:
            made = message({"a": value})
        except Invalid:
            assert levels > 30
            continue
        assert Answer.FromString(Answer(json=made).SerializeToString()).json == made


@pytest.mark.parametrize(
    ("of", "wrap"),
    [
        (TYPES["list"], lambda at: at.collection.literals.add()),
        (TYPES["map"], lambda at: at.map.literals["a"]),
        (TYPES["union"], lambda at: at.scalar.union.value),
    ],
)
def test_deep_literals(of: LiteralType, wrap: Any) -> None:
    with pytest.raises(Invalid, match="levels deep"):
        shown(of, deep_literal(wrap), Trail("x"))


def test_deep_packed_values() -> None:
    body = b"\x91" * DEEP + b"\x01"
    packed = pb.Literal(scalar=pb.Scalar(binary=pb.Binary(value=body, tag="msgpack")))
    with pytest.raises(Invalid):
        shown(simple("STRUCT"), packed, Trail("x"))
    nested: Any = 1
    for _ in range(100):
        nested = {"a": nested}
    packed.scalar.binary.value = msgpack.packb(nested)
    with pytest.raises(Invalid, match="levels deep"):
        shown(simple("STRUCT"), packed, Trail("x"))


def test_deep_schemas() -> None:
    told = deep_value(lambda v: {"type": "array", "items": v})
    with pytest.raises(Invalid, match="levels deep"):
        literal_type(told, Trail("x"))
    told = deep_value(lambda v: {"oneOf": [v]})
    with pytest.raises(Invalid, match="levels deep"):
        literal_type(told, Trail("x"))


ENDLESS = {"properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"$ref": "#/$defs/A"}}}
DOUBLING = {
    "properties": {"a": {"$ref": "#/$defs/A"}},
    "$defs": {"A": {"anyOf": [{"properties": {"a": {"$ref": "#/$defs/A"}}, "type": "object"}] * 8}},
}


@pytest.mark.parametrize("told", [ENDLESS, DOUBLING])
def test_schemas_that_refer_to_themselves(told: dict[str, Any]) -> None:
    value: Any = {}
    for _ in range(15):
        value = {"a": value}
    before = time.monotonic()
    with pytest.raises(Invalid, match=r"nested more than|too large for a form"):
        read(struct(type="object", **told), value, Trail("x"))
    assert time.monotonic() - before < 20


def test_messages_are_short() -> None:
    inner = INT
    for _ in range(6):
        inner = union(inner, LiteralType(collection_type=inner), LiteralType(map_value_type=inner))
    values: list[Any] = ["x" * 10_000, {"k" * 10_000: "x"}, ["x"] * 1000]
    for value in values:
        with pytest.raises(Invalid) as caught:
            read(inner, value, Trail("x"))
        assert len(str(caught.value)) < 3000


def test_large_values() -> None:
    with pytest.raises(Invalid, match="too large for a form"):
        read(LiteralType(collection_type=INT), [1.0] * 500_000, Trail("x"))
    many = read(LiteralType(collection_type=INT), [1.0] * 50_000, Trail("x"))
    assert len(many.collection.literals) == 50_000
