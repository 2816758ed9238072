"""Every type of value that the SDK knows, from the client to a task to its child and back."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from typing import Any, NamedTuple, TypedDict

import flyte
from flyte.remote import Run
from pydantic import BaseModel
from telling import end, tell  # type: ignore[import-not-found]

env = flyte.TaskEnvironment(name="literals")

BIG = "x" * 1_000_000


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Point:
    x: int
    y: float = 0.5
    tags: list[str] = field(default_factory=list)


@dataclass
class Line:
    start: Point
    end: Point
    colour: Colour = Colour.RED


class Inner(BaseModel):
    name: str


class Model(BaseModel):
    name: str
    sizes: dict[str, int]
    inner: Inner | None = None


class Pair(NamedTuple):
    left: int
    right: str


class Options(TypedDict):
    depth: int
    names: list[str]


class Opaque:
    """Nothing that the SDK knows: it travels as a pickle."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Opaque) and other.value == self.value

    __hash__ = None  # type: ignore[assignment]


@env.task
async def scalars(i: int, f: float, s: str, b: bool) -> tuple[int, float, str, bool]:
    return i, f, s, b


@env.task
async def many_scalars() -> list[str]:
    told = [await scalars(i=-(2**53), f=1e-300, s="naïve ☃ \x00 \n", b=True)]
    told.append(await scalars(i=0, f=0.0, s="", b=False))
    return [repr(one) for one in told]


@env.task
async def times(at: datetime, took: timedelta, day: date) -> tuple[datetime, timedelta, date]:
    assert isinstance(at, datetime)
    assert isinstance(took, timedelta)
    return at + took, took * 2, day + timedelta(days=1)


@env.task
async def optional(x: int | None, y: str | None = None) -> tuple[int | None, str | None]:
    return x, y


@env.task
async def union(x: int | str | list[float]) -> str:
    return f"{type(x).__name__}:{x}"


@env.task
async def unions() -> list[str]:
    return list(await asyncio.gather(union(x=3), union(x="3"), union(x=[3.5])))


@env.task
async def collections(numbers: list[list[int]], table: dict[str, list[float]]) -> dict[str, list[int]]:
    return {str(sum(row)): row for row in numbers} | {key: [len(row)] for key, row in table.items()}


@env.task
async def untyped(anything: dict[str, Any]) -> dict[str, Any]:
    return {"was": anything, "keys": sorted(anything)}


@env.task
async def colour(c: Colour) -> Colour:
    assert isinstance(c, Colour)
    return Colour.BLUE if c is Colour.RED else Colour.RED


@env.task
async def line(one: Line) -> Line:
    return Line(one.end, one.start, Colour.BLUE)


@env.task
async def line_parent(one: Line) -> list[Line]:
    back = await line(one)
    assert back.colour is Colour.BLUE
    assert back.start == one.end
    return [one, back]


@env.task
async def model(one: Model) -> Model:
    return Model(name=one.name.upper(), sizes={key: 2 * n for key, n in one.sizes.items()}, inner=Inner(name=one.name))


@env.task
async def model_parent() -> str:
    changed = await model(Model(name="a", sizes={"s": 1}))
    assert isinstance(changed.inner, Inner)
    return changed.model_dump_json()


@env.task
async def pair(one: Pair) -> Pair:
    return Pair(one.left + 1, one.right * 2)


@env.task
async def pair_parent() -> list[str]:
    left, right = await pair(Pair(1, "ab"))  # as an output, the SDK makes its fields outputs of their own
    return [str(left), right]


@env.task
async def options(one: Options) -> Options:
    return Options(depth=one["depth"] + 1, names=[*one["names"], "new"])


@env.task
async def raw(data: bytes) -> bytes:
    return data[::-1]


@env.task
async def raw_parent() -> list[int]:
    return list(await raw(bytes(range(5))))


@env.task
async def opaque(one: Opaque) -> Opaque:
    return Opaque(one.value + 1)


@env.task
async def opaque_parent() -> int:
    return (await opaque(Opaque(41))).value


@env.task
async def big(text: str) -> str:
    assert text == BIG
    return text + "y"


@env.task
async def big_parent(text: str) -> list[str]:
    return [text, await big(text)]


def plain(values: list[Any]) -> list[Any]:
    """What JSON can say of them."""
    return [_plain(value) for value in values]


def _plain(value: Any) -> Any:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Enum():
            return value.value
        case datetime() | date():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case BaseModel():
            return value.model_dump()
        case list() | tuple():
            return [_plain(one) for one in value]
        case Mapping():
            return {key: _plain(one) for key, one in value.items()}
        case _ if hasattr(value, "__dict__"):
            return _plain(vars(value))
    return repr(value)


if __name__ == "__main__":
    flyte.init_from_config()
    point = Point(1, 2.5, ["a"])
    runs: dict[str, Run] = {
        "scalars": flyte.run(scalars, i=7, f=2.5, s="snow ☃", b=True),
        "many_scalars": flyte.run(many_scalars),
        "times": flyte.run(
            times, at=datetime(2026, 1, 2, 3, 4, 5, 678901, UTC), took=timedelta(seconds=1.5), day=date(2026, 2, 28)
        ),
        "optional": flyte.run(optional, x=None, y="y"),
        "default": flyte.run(optional, x=5),
        "unions": flyte.run(unions),
        "union": flyte.run(union, x="text"),
        "collections": flyte.run(collections, numbers=[[1, 2], [], [3]], table={"a": [0.5, 1.5], "b": []}),
        "untyped": flyte.run(untyped, anything={"b": [1, "two", None], "a": {"deep": 1.5}}),
        "colour": flyte.run(colour, c=Colour.RED),
        "line": flyte.run(line_parent, one=Line(point, Point(3))),
        "model": flyte.run(model, one=Model(name="m", sizes={"s": 1, "l": 3})),
        "model_parent": flyte.run(model_parent),
        "pair": flyte.run(pair_parent),
        "options": flyte.run(options, one=Options(depth=1, names=["old"])),
        "raw": flyte.run(raw_parent),
        "opaque": flyte.run(opaque_parent),
        "big": flyte.run(big_parent, text=BIG),
    }
    told = {}
    for key, run in runs.items():
        one = end(run)
        one["outputs"] = plain(one.get("outputs", []))
        told[key] = one
    texts = told["big"]["outputs"][0]
    told["big"]["outputs"] = [texts[0] == BIG, texts[1] == BIG + "y"]
    told["model_inputs"] = {"outputs": plain(list(runs["model"].inputs().values()))}
    tell(**told)
