"""JSON values as literals of a type.

A union takes the variant that fits best, not the first that converts: each literal read knows how far it is from how
its type would have been spelled. Who wants another variant names it: ``{"structure": tag, "value": ...}``, with
``title`` or ``variant`` (its place among the variants) beside ``structure`` or in its stead.
"""

from collections.abc import Callable
from dataclasses import dataclass

from flyteidl2.core import literals_pb2 as pb
from flyteidl2.core import types_pb2
from flyteidl2.core.types_pb2 import LiteralType
from google.protobuf.struct_pb2 import Struct

from alula.core.errors import Invalid
from alula.wire.forms import packed, spelling
from alula.wire.forms.kinds import kind, names, pickled, title
from alula.wire.forms.schemas import DIMENSIONS
from alula.wire.forms.structs import message, plain
from alula.wire.forms.trail import Json, Object, OutOfBounds, Trail, brief

OFFLOADED = "$offloaded"
NULL: Object = {"type": "null"}  # what consoles send for nothing, and are sent
VARIANT = ("structure", "title", "variant")  # how a variant is named
_MESSAGE = "pb_type"  # in a type's metadata: the value is a protobuf message, and no MessagePack


@dataclass(frozen=True, slots=True)
class Fit:
    """A literal, and how far it is from how its type is spelled: 0 is exact."""

    literal: pb.Literal
    distance: int = 0


def read(of: LiteralType, value: Json, trail: Trail) -> pb.Literal:
    """The literal that a value stands for. `Invalid`, with its path, for a value that does not fit its type."""
    return fit(of, value, trail).literal


def fit(of: LiteralType, value: Json, trail: Trail) -> Fit:
    """The literal that a value stands for, and how well it fits."""
    if isinstance(value, dict) and set(value) == {OFFLOADED} and _is_reference(stored := value[OFFLOADED]):
        return _offloaded(of, stored, trail.at(OFFLOADED))
    name = kind(of)
    if name not in ("none", "union") and value is None:
        raise trail.invalid(f"null is given for what is not optional: give {_article(name)}")
    return _READERS[name](of, value, trail)


def _article(name: str) -> str:
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"


def _primitive(make: Callable[[Json, Trail], pb.Primitive], distance: int = 0) -> Callable[..., Fit]:
    def primitive(_: LiteralType, value: Json, trail: Trail) -> Fit:
        made = make(value, trail)
        return Fit(pb.Literal(scalar=pb.Scalar(primitive=made)), distance)

    return primitive


def _none(_: LiteralType, value: Json, trail: Trail) -> Fit:
    if value is not None and value != NULL:
        raise trail.invalid(f"{brief(value)} is not null")
    return Fit(pb.Literal(scalar=pb.Scalar(none_type=pb.Void())))


def _integer(_: LiteralType, value: Json, trail: Trail) -> Fit:
    made = pb.Primitive(integer=spelling.integer(value, trail))
    return Fit(pb.Literal(scalar=pb.Scalar(primitive=made)), 3 if isinstance(value, str) else 0)


def _float(_: LiteralType, value: Json, trail: Trail) -> Fit:
    number = spelling.number(value, trail)
    distance = 3 if isinstance(value, str) else int(number.is_integer())
    return Fit(pb.Literal(scalar=pb.Scalar(primitive=pb.Primitive(float_value=number))), distance)


def _duration(_: LiteralType, value: Json, trail: Trail) -> Fit:
    made = pb.Primitive(duration=spelling.duration(value, trail))
    named = isinstance(value, str) and not value[-1:].isdigit()
    return Fit(pb.Literal(scalar=pb.Scalar(primitive=made)), 0 if named else 4)


def _binary(_: LiteralType, value: Json, trail: Trail) -> Fit:
    tag = ""
    if isinstance(value, dict):
        _only(value, ("tag", "value"), trail)
        tag, value = spelling.string(value.get("tag", ""), trail.at("tag")), value.get("value")
    made = pb.Binary(value=spelling.binary(value, trail), tag=tag)
    return Fit(pb.Literal(scalar=pb.Scalar(binary=made)), 0 if tag else 4)


def _error(_: LiteralType, value: Json, trail: Trail) -> Fit:
    node, distance = "", 4
    if isinstance(value, dict):
        _only(value, ("message", "failed_node_id"), trail)
        node, distance = spelling.string(value.get("failed_node_id", ""), trail.at("failed_node_id")), 0
        value = value.get("message", "")
    made = types_pb2.Error(message=spelling.string(value, trail), failed_node_id=node)
    return Fit(pb.Literal(scalar=pb.Scalar(error=made)), distance)


def _struct(of: LiteralType, value: Json, trail: Trail) -> Fit:
    if _MESSAGE in of.metadata.fields:
        if not isinstance(value, dict):
            raise trail.invalid(f"{brief(value)} is no object")
        return Fit(pb.Literal(scalar=pb.Scalar(generic=message(value))), 3)
    schema = metadata(of, trail)
    body, distance = packed.pack(schema, value, trail)
    if not schema and not isinstance(value, dict):
        raise trail.invalid(f"{brief(value)} is no object")
    made = pb.Binary(value=body, tag="msgpack")
    return Fit(pb.Literal(scalar=pb.Scalar(binary=made)), distance)


def metadata(of: LiteralType, trail: Trail) -> Object:
    """The JSON Schema that a type carries."""
    return plain(of.metadata if of.HasField("metadata") else Struct(), trail)


def _list(of: LiteralType, value: Json, trail: Trail) -> Fit:
    if not isinstance(value, list):
        raise trail.invalid(f"{brief(value)} is no list")
    items = [fit(of.collection_type, item, trail.item(i)) for i, item in enumerate(value)]
    made = pb.LiteralCollection(literals=[item.literal for item in items])
    return Fit(pb.Literal(collection=made), max((item.distance for item in items), default=0))


def _map(of: LiteralType, value: Json, trail: Trail) -> Fit:
    if not isinstance(value, dict):
        raise trail.invalid(f"{brief(value)} is no object")
    items = {key: fit(of.map_value_type, value[key], trail.at(key)) for key in sorted(value)}
    made = pb.LiteralMap(literals={key: item.literal for key, item in items.items()})
    return Fit(pb.Literal(map=made), max((item.distance for item in items.values()), default=1))


def _enum(of: LiteralType, value: Json, trail: Trail) -> Fit:
    text = spelling.string(value, trail)
    if text not in of.enum_type.values:
        raise trail.invalid(f"{brief(text)} is none of {names(of.enum_type.values)}")
    return Fit(pb.Literal(scalar=pb.Scalar(primitive=pb.Primitive(string_value=text))))


def _only(value: Object, fields: tuple[str, ...], trail: Trail) -> None:
    for key in sorted(value):
        if key not in fields:
            raise trail.at(key).invalid(f"is no field: the fields are {names(fields)}")


def _stored(value: Json, fields: tuple[str, ...], trail: Trail) -> dict[str, str]:
    """What tells of an object in the store: its URI, and more."""
    if not isinstance(value, dict):
        raise trail.invalid(f"{brief(value)} is no object with a uri")
    _only(value, fields, trail)
    told = {key: spelling.string(value[key], trail.at(key)) for key in fields if key in value}
    if not told.get("uri"):
        raise trail.at("uri").invalid("is missing: give the URI of the object")
    return told


def _blob(of: LiteralType, value: Json, trail: Trail) -> Fit:
    if isinstance(value, dict) and isinstance(number := value.get("dimensionality"), float | int):
        known = {float(n): name for name, n in DIMENSIONS.items()}
        value = {**value, "dimensionality": known.get(float(number), str(number))}
    told = _stored(value, ("uri", "format", "dimensionality", "hash"), trail)
    expected = DIMENSIONS.Name(of.blob.dimensionality)
    if told.get("dimensionality", expected) != expected:
        raise trail.at("dimensionality").invalid(
            f"{brief(told['dimensionality'])} is given where {expected} is expected"
        )
    form = types_pb2.BlobType(format=told.get("format", of.blob.format), dimensionality=of.blob.dimensionality)
    made = pb.Blob(uri=told["uri"], metadata=pb.BlobMetadata(type=form))
    literal = pb.Literal(scalar=pb.Scalar(blob=made), hash=told.get("hash", ""))
    return Fit(literal, 0 if "dimensionality" in told else 1)


def _dataset(of: LiteralType, value: Json, trail: Trail) -> Fit:
    told = _stored(value, ("uri", "format", "hash"), trail)
    made = pb.StructuredDataset(uri=told["uri"])
    made.metadata.structured_dataset_type.CopyFrom(of.structured_dataset_type)
    if "format" in told:
        made.metadata.structured_dataset_type.format = told["format"]
    return Fit(pb.Literal(scalar=pb.Scalar(structured_dataset=made), hash=told.get("hash", "")))


def _schema(of: LiteralType, value: Json, trail: Trail) -> Fit:
    told = _stored(value, ("uri",), trail)
    return Fit(pb.Literal(scalar=pb.Scalar(schema=pb.Schema(uri=told["uri"], type=of.schema))), 1)


def _is_reference(value: Json) -> bool:
    return isinstance(value, dict) and set(value) == {"uri", "size_bytes"}


def _offloaded(of: LiteralType, value: Json, trail: Trail) -> Fit:
    """A literal that is too large for a form, and stays where it is."""
    told = value if isinstance(value, dict) else {}
    uri = spelling.string(told.get("uri"), trail.at("uri"))
    size = spelling.integer(told.get("size_bytes"), trail.at("size_bytes"), (0, 2**64 - 1))
    return Fit(pb.Literal(offloaded_metadata=pb.LiteralOffloadedMetadata(uri=uri, size_bytes=size, inferred_type=of)))


def _union(of: LiteralType, value: Json, trail: Trail) -> Fit:
    chosen, inner = named(of, value)
    nothing = [i for i in chosen if kind(of.union_type.variants[i]) == "none"]
    chosen = nothing if nothing and inner in (None, NULL) else [i for i in chosen if i not in nothing]
    best: tuple[int, Fit] | None = None
    refusals: dict[str, str] = {}
    for i in chosen:
        variant = of.union_type.variants[i]
        try:
            made = fit(variant, inner, trail.same())
        except OutOfBounds:
            raise
        except Invalid as error:
            refusals[f"as {title(variant)}"] = str(error)
            continue
        if best is None or made.distance < best[1].distance:
            best = i, made
    if best is None:
        raise trail.invalid("null is given for what is not optional") if value is None else _refusal(refusals, trail)
    return _wrapped(of, *best)


def _refusal(refusals: dict[str, str], trail: Trail) -> Invalid:
    if len(refusals) == 1:
        return Invalid(next(iter(refusals.values())))
    told = "; ".join(f"{name}: {why.removeprefix(f'{trail}: ')[:200]}" for name, why in list(refusals.items())[:8])
    return trail.invalid(f"fits no variant of the union ({told})")


def named(of: LiteralType, value: Json) -> tuple[list[int], Json]:
    """Which variants a value may be of, and the value itself."""
    variants = range(len(of.union_type.variants))
    if isinstance(value, dict) and "value" in value and 1 < len(value) == 1 + sum(key in value for key in VARIANT):
        chosen = [i for i in variants if _is_named(of.union_type.variants[i], i, value)]
        if chosen:
            return chosen, value["value"]
    return list(variants), value


def _is_named(variant: LiteralType, index: int, value: Object) -> bool:
    own = {"structure": variant.structure.tag, "title": title(variant), "variant": index}
    return all(value[key] == own[key] for key in VARIANT if key in value)


def _wrapped(of: LiteralType, index: int, inner: Fit) -> Fit:
    if pickled(of):
        return inner
    made = pb.Union(value=inner.literal, type=of.union_type.variants[index])
    return Fit(pb.Literal(scalar=pb.Scalar(union=made)), inner.distance)


_READERS: dict[str, Callable[[LiteralType, Json, Trail], Fit]] = {
    "none": _none,
    "integer": _integer,
    "float": _float,
    "string": _primitive(lambda value, trail: pb.Primitive(string_value=spelling.string(value, trail)), 2),
    "boolean": _primitive(lambda value, trail: pb.Primitive(boolean=spelling.boolean(value, trail))),
    "datetime": _primitive(lambda value, trail: pb.Primitive(datetime=spelling.time(value, trail))),
    "duration": _duration,
    "binary": _binary,
    "error": _error,
    "struct": _struct,
    "list": _list,
    "map": _map,
    "enum": _enum,
    "blob": _blob,
    "dataset": _dataset,
    "schema": _schema,
    "union": _union,
}
