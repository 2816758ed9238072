"""Literals as JSON values, such that `read.py` makes the same literals of them again."""

from collections.abc import Callable
from typing import cast

from flyteidl2.core import literals_pb2 as pb
from flyteidl2.core.types_pb2 import LiteralType

from alula.core.errors import Invalid
from alula.wire.forms import packed, spelling
from alula.wire.forms.kinds import kind, nullable, pickled, title
from alula.wire.forms.read import NULL, OFFLOADED, metadata, named, read
from alula.wire.forms.schemas import dimension
from alula.wire.forms.structs import plain
from alula.wire.forms.trail import Json, Object, OutOfBounds, Trail

_MSGPACK = "msgpack"


def shown(of: LiteralType, literal: pb.Literal, trail: Trail) -> Json:
    """A literal of a type as JSON. `Invalid` if it is of another type."""
    if literal.HasField("offloaded_metadata"):
        stored = literal.offloaded_metadata
        return {OFFLOADED: {"uri": stored.uri, "size_bytes": spelling.integer_json(stored.size_bytes)}}
    name, held = kind(of), holds(literal)
    if held == "binary" and literal.scalar.binary.tag == _MSGPACK and name != "binary":
        return _packed(of, literal, trail)
    if name == "union":
        return _union(of, literal, trail)
    if not fits(name, held):
        raise trail.invalid(
            f"holds {held or 'nothing'}, and its variable {name}: leave it out, or correct the variable"
        )
    return _SHOWERS[held](of, literal, trail)


def holds(literal: pb.Literal) -> str:
    """What a literal holds, in the words of `kinds.kind`; "" for nothing."""
    field = literal.WhichOneof("value")
    if field == "collection":
        return "list"
    if field != "scalar":
        return field or ""
    scalar = literal.scalar.WhichOneof("value")
    if scalar == "primitive":
        primitive = literal.scalar.primitive.WhichOneof("value") or ""
        return {"float_value": "float", "string_value": "string"}.get(primitive, primitive)
    return {"none_type": "none", "generic": "struct", "structured_dataset": "dataset"}.get(str(scalar), scalar or "")


# What else a variable of a kind may hold: the SDK reads all of these.
_ALSO = {"enum": {"string"}, "float": {"integer"}, "struct": {"binary"}}


def fits(name: str, held: str) -> bool:
    """Whether a variable of a kind may hold such a literal. Any may be packed, as what was taken out of a dataclass."""
    return held == name or held == "binary" or held in _ALSO.get(name, ())


def _union(of: LiteralType, literal: pb.Literal, trail: Trail) -> Json:
    """The inner value, as consoles know it; with the variant's name only where it would be read as another one."""
    wrapped = literal.scalar.HasField("union")
    inner = literal.scalar.union.value if wrapped else literal
    index = _variant(of, literal, trail)
    variant = of.union_type.variants[index]
    value = shown(variant, inner, trail.same())
    names: Object = {"structure": variant.structure.tag} if variant.structure.tag else {}
    # What an inner union has named already must not be taken for a name of this one's variants.
    plainly: list[Object] = [{}] if named(of, value)[1] is value else []
    for told in (*plainly, {**names, "title": title(variant)}, {**names, "variant": index}):
        spelled: Json = {**told, "value": value} if told else value
        if _is_read_as(of, index, spelled, trail):
            return spelled
    return value


def _is_read_as(of: LiteralType, index: int, value: Json, trail: Trail) -> bool:
    try:
        again = read(of, value, trail.same())
    except OutOfBounds:
        raise
    except Invalid:
        return False
    if pickled(of):
        return fits(kind(of.union_type.variants[index]), holds(again))
    return again.scalar.union.type == of.union_type.variants[index]


def _variant(of: LiteralType, literal: pb.Literal, trail: Trail) -> int:
    """Which of its type's variants a literal is of: the same type, else the same tag, else what it holds."""
    variants = list(enumerate(of.union_type.variants))
    if literal.scalar.HasField("union"):
        inner, own = literal.scalar.union.value, literal.scalar.union.type
        ways: list[Callable[[LiteralType], bool]] = [
            lambda v: v == own,
            lambda v: (v.structure.tag, kind(v), title(v)) == (own.structure.tag, kind(own), title(own)),
            lambda v: (v.structure.tag, kind(v)) == (own.structure.tag, kind(own)),
            lambda v: kind(v) == kind(own),
        ]
    else:
        inner, ways = literal, []
    held = holds(inner)
    ways += [lambda v: kind(v) == held, lambda v: fits(kind(v), held), lambda v: kind(v) == "union"]
    for way in ways:
        for i, variant in variants:
            if way(variant):
                return i
    raise trail.invalid(f"holds {held or 'nothing'}, which is none of its variable's variants")


def _packed(of: LiteralType, literal: pb.Literal, trail: Trail) -> Json:
    """MessagePack: a dataclass; or, under any other type, what was taken out of one."""
    body = literal.scalar.binary.value
    if kind(of) == "struct":
        return packed.exact(body, metadata(of, trail), trail)
    value = packed.shown(packed.unpacked(body, trail), trail)
    return NULL if value is None and nullable(of) else value


def _primitive(of: LiteralType, literal: pb.Literal, trail: Trail) -> Json:
    primitive = literal.scalar.primitive
    match primitive.WhichOneof("value"):
        case "integer":
            whole = primitive.integer
            return spelling.number_json(float(whole)) if kind(of) == "float" else spelling.integer_json(whole)
        case "float_value":
            return spelling.number_json(primitive.float_value)
        case "datetime":
            return spelling.time_json(primitive.datetime, trail)
        case "duration":
            return spelling.duration_json(primitive.duration)
        case "boolean":
            return primitive.boolean
        case _:
            return primitive.string_value


def _binary(_: LiteralType, literal: pb.Literal, __: Trail) -> Json:
    told = spelling.binary_json(literal.scalar.binary.value)
    return {"tag": literal.scalar.binary.tag, "value": told} if literal.scalar.binary.tag else told


def _error(_: LiteralType, literal: pb.Literal, __: Trail) -> Json:
    told = literal.scalar.error
    if not told.failed_node_id:
        return told.message
    return {"message": told.message, "failed_node_id": told.failed_node_id}


def _stored(uri: str, form: str, literal: pb.Literal) -> Object:
    made: Object = {"uri": uri, "format": form}
    if literal.hash:
        made["hash"] = literal.hash
    return made


def _blob(_: LiteralType, literal: pb.Literal, trail: Trail) -> Json:
    told = literal.scalar.blob.metadata.type
    made = _stored(literal.scalar.blob.uri, told.format, literal)
    return {**made, "dimensionality": dimension(told.dimensionality, trail)}


def _dataset(_: LiteralType, literal: pb.Literal, __: Trail) -> Json:
    told = literal.scalar.structured_dataset
    return _stored(told.uri, told.metadata.structured_dataset_type.format, literal)


def _list(of: LiteralType, literal: pb.Literal, trail: Trail) -> Json:
    items = literal.collection.literals
    return [shown(of.collection_type, item, trail.item(i)) for i, item in enumerate(items)]


def _map(of: LiteralType, literal: pb.Literal, trail: Trail) -> Json:
    items = literal.map.literals
    return {key: shown(of.map_value_type, items[key], trail.at(key)) for key in sorted(items)}


_SHOWERS: dict[str, Callable[[LiteralType, pb.Literal, Trail], Json]] = {
    "none": lambda _, __, ___: cast("Json", dict(NULL)),
    **dict.fromkeys(("integer", "float", "string", "boolean", "datetime", "duration"), _primitive),
    "binary": _binary,
    "error": _error,
    "struct": lambda _, literal, trail: plain(literal.scalar.generic, trail),
    "blob": _blob,
    "dataset": _dataset,
    "schema": lambda _, literal, __: {"uri": literal.scalar.schema.uri},
    "list": _list,
    "map": _map,
}
