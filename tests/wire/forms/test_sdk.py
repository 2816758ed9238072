"""What the SDK makes of a value goes through JSON and comes back to it as the same value."""

import datetime
import enum
import math
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple, TypedDict

import pytest
from flyte.io import DataFrame, Dir, File
from flyte.types import TypeEngine
from flyteidl2.core import literals_pb2 as pb
from flyteidl2.core.types_pb2 import LiteralType
from pydantic import BaseModel, Field

from alula.wire.forms.read import read
from alula.wire.forms.schemas import schema
from alula.wire.forms.shown import shown
from alula.wire.forms.structs import message, plain
from alula.wire.forms.trail import Json, Trail
from alula.wire.forms.types import literal_type

BIG = 2**53 + 1
NOON = datetime.datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=datetime.UTC)
EAST = datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.timezone(datetime.timedelta(hours=2)))
SPAN = datetime.timedelta(days=3, hours=1, microseconds=7)


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@dataclass
class Inner:
    x: int = 3
    by_number: dict[int, str] = field(default_factory=dict)


@dataclass
class Outer:
    whole: int
    part: float
    when: datetime.datetime
    span: datetime.timedelta
    color: Color
    level: Level
    raw: bytes
    inner: Inner
    many: list[Inner]
    pair: tuple[int, str]
    either: int | str
    free: dict  # type: ignore[type-arg] # as users write it
    file: File
    maybe: Inner | None = None


@dataclass
class Other:
    name: str


@dataclass
class Third:
    number: int


class Leaf(BaseModel):
    n: int = 1
    children: "list[Leaf]" = []


class Model(BaseModel):
    z: int
    when: datetime.datetime
    span: datetime.timedelta
    leaf: Leaf
    raw: bytes = b"text"
    color: Color = Color.RED
    maybe_color: Color | None = None
    note: str | None = None


class Aliased(BaseModel):
    model_config = {"populate_by_name": True}
    my_name: int = Field(alias="myName")


class Pair(NamedTuple):
    a: int
    b: str


class Typed(TypedDict):
    a: int
    b: list[str]


OUTER = Outer(
    whole=BIG,
    part=2.0,
    when=NOON,
    span=SPAN,
    color=Color.RED,
    level=Level.HIGH,
    raw=b"\0\xff",
    inner=Inner(4, {7: "seven", -1: "minus"}),
    many=[Inner(), Inner(1)],
    pair=(1, "a"),
    either="5",
    free={"a": [1, None, {"b": True}], 3: b"bytes"},
    file=File(path="s3://alula/x"),
)
MODEL = Model(z=BIG, when=EAST, span=SPAN, leaf=Leaf(children=[Leaf(n=2), Leaf(n=3, children=[Leaf()])]))

VALUES: list[tuple[Any, Any]] = [
    (int, -5),
    (int, BIG),
    (int, -(2**63)),
    (float, 2.0),
    (float, 0.1),
    (float, math.inf),
    (str, "ä\n"),
    (str, ""),
    (bool, True),
    (datetime.datetime, NOON),
    (datetime.datetime, EAST),
    (datetime.date, datetime.date(2026, 1, 31)),
    (datetime.timedelta, SPAN),
    (datetime.timedelta, -SPAN),
    (Color, Color.BLUE),
    (Level, Level.LOW),
    (list[int], [1, BIG]),
    (list[int], []),
    (list[list[str]], [["a"], []]),
    (dict[str, float], {"a": 1.0, "b": 0.5}),
    (dict[str, list[int]], {"a": [1]}),
    (dict[int, int], {1: 2}),
    (dict, {"a": 1, "b": [0.5, None, "x"]}),
    (dict, {1: 2, "1": 3, "blob": b"\0"}),
    (int | None, None),
    (int | None, 3),
    (int | float, 1),
    (int | float, 1.0),
    (int | float, 1.5),
    (int | str, "5"),
    (int | str, BIG),
    (str | datetime.datetime, "2026-01-31T12:00:00Z"),
    (str | datetime.datetime, NOON),
    (str | datetime.timedelta, "1h"),
    (str | datetime.timedelta, SPAN),
    (Color | str, "RED"),
    (Color | str, Color.RED),
    (bool | int, True),
    (bool | int, 1),
    (dict[str, str] | None, {"type": "null"}),
    (dict[str, str] | None, None),
    (Third | Other | None, Other("n")),
    (Third | Other | None, Third(2)),
    (Third | Other | None, None),
    (list[int | None], [1, None, 2]),
    (dict[str, Color | int], {"a": Color.RED, "b": 2}),
    (Outer, OUTER),
    (list[Outer], [OUTER]),
    (Outer | None, OUTER),
    (Model, MODEL),
    (dict[str, Model], {"m": MODEL}),
    (Model, MODEL.model_copy(update={"maybe_color": Color.BLUE})),
    (Aliased, Aliased(myName=4)),
    (tuple[int, str], (1, "a")),
    (Pair, Pair(1, "b")),
    (Typed, {"a": 1, "b": ["x"]}),
    (bytes, b"\0\1"),
    (Any, {"anything": {1, 2}}),
    (set[int], {1, 2}),
    (str | bytes, b"\0"),
    (str | bytes, "AAAA"),
    (Annotated[str, Field(pattern="^s3://", description="where")], "s3://x"),
]


def through_json(of: LiteralType, literal: Any) -> tuple[Json, Any]:
    """Literal, JSON, the Struct a client gets and sends, literal."""
    told = shown(of, literal, Trail("x"))
    sent = plain(message({"x": told}), Trail("values"))["x"]
    return told, read(of, sent, Trail("values.x"))


@pytest.mark.parametrize(("kind", "value"), VALUES, ids=lambda v: str(v)[:40])
async def test_a_value_comes_back(kind: Any, value: Any) -> None:
    of = TypeEngine.to_literal_type(kind)
    literal = await TypeEngine.to_literal(value, kind, of)
    told, again = through_json(of, literal)
    back = await TypeEngine.to_python_value(again, kind)
    assert back == value, told
    assert type(back) is type(value)


@pytest.mark.parametrize(("kind", "value"), VALUES, ids=lambda v: str(v)[:40])
async def test_a_value_comes_back_through_a_form_alone(kind: Any, value: Any) -> None:
    """The type, too, is what its schema says."""
    of = TypeEngine.to_literal_type(kind)
    literal = await TypeEngine.to_literal(value, kind, of)
    form = plain(message(schema(of, Trail("x"))), Trail("json"))
    again = read(literal_type(form, Trail("json")), through_json(of, literal)[0], Trail("json.default"))
    assert await TypeEngine.to_python_value(again, kind) == value


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (File, File(path="s3://alula/f", format="csv", hash="h")),
        (Dir, Dir(path="s3://alula/d")),
        (File | None, File(path="s3://alula/f")),
        (list[File], [File(path="s3://alula/a"), File(path="s3://alula/b")]),
    ],
)
async def test_files_and_folders(kind: Any, value: Any) -> None:
    of = TypeEngine.to_literal_type(kind)
    literal = await TypeEngine.to_literal(value, kind, of)
    told, again = through_json(of, literal)
    assert again == literal
    back = await TypeEngine.to_python_value(again, kind)
    assert repr(back) == repr(await TypeEngine.to_python_value(literal, kind)), told


async def test_a_table() -> None:
    of = TypeEngine.to_literal_type(DataFrame)
    stored = pb.StructuredDataset(uri="s3://alula/t")
    stored.metadata.structured_dataset_type.format = "parquet"
    literal = pb.Literal(scalar=pb.Scalar(structured_dataset=stored), hash="h")
    told, again = through_json(of, literal)
    assert told == {"uri": "s3://alula/t", "format": "parquet", "hash": "h"}
    assert again == literal
    back = await TypeEngine.to_python_value(again, DataFrame)
    assert (back.uri, back.format) == ("s3://alula/t", "parquet")


async def test_a_schema_is_enough() -> None:
    """A dataclass whose schema says all needs nothing beside its fields: they can be read and edited."""
    value = Inner(2**60, {7: "seven"})
    of = TypeEngine.to_literal_type(Inner)
    told, _ = through_json(of, await TypeEngine.to_literal(value, Inner, of))
    assert told == {"x": str(2**60), "by_number": {"7": "seven"}}
    assert isinstance(told, dict)
    edited = read(of, {**told, "by_number": {"8": "eight"}}, Trail("x"))
    assert await TypeEngine.to_python_value(edited, Inner) == Inner(2**60, {8: "eight"})


async def test_what_a_user_types() -> None:
    """A form is filled in by hand: fields with defaults are left out, numbers are doubles."""
    typed: Json = {"z": 3.0, "when": "2026-01-31T12:00:00Z", "span": "PT1.5S", "leaf": {"children": [{"n": 2.0}]}}
    literal = read(TypeEngine.to_literal_type(Model), typed, Trail("values.m"))
    model = await TypeEngine.to_python_value(literal, Model)
    assert model == Model(
        z=3,
        when=datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.UTC),
        span=datetime.timedelta(seconds=1.5),
        leaf=Leaf(children=[Leaf(n=2)]),
    )


async def test_a_value_that_was_edited_is_what_counts() -> None:
    """The exact bytes that are kept beside a free dict no longer hold once somebody has changed it."""
    of = TypeEngine.to_literal_type(dict)
    literal = await TypeEngine.to_literal({1: 2, "b": b"x"}, dict, of)
    told = shown(of, literal, Trail("x"))
    assert isinstance(told, dict)
    assert {key: told[key] for key in ("1", "b")} == {"1": 2, "b": "eA=="}
    edited = read(of, {**told, "1": 5.0}, Trail("x"))
    assert await TypeEngine.to_python_value(edited, dict) == {"1": 5, "b": "eA=="}
