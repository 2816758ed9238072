"""JSON Schema as types: what a form's fields hold."""

from collections.abc import Mapping

from flyteidl2.core import types_pb2
from flyteidl2.core.types_pb2 import LiteralType, SimpleType

from alula.wire.forms.schemas import DIMENSIONS
from alula.wire.forms.spelling import string
from alula.wire.forms.structs import message
from alula.wire.forms.trail import Json, Object, Trail, brief

_STRINGS: Mapping[Json, SimpleType] = {
    "datetime": SimpleType.DATETIME,
    "duration": SimpleType.DURATION,
    "binary": SimpleType.BINARY,
    "error": SimpleType.ERROR,
}
_INTEGERS: Mapping[Json, SimpleType] = {"datetime": SimpleType.DATETIME, "duration": SimpleType.DURATION}
_SIMPLE: Mapping[Json, SimpleType] = {
    "number": SimpleType.FLOAT,
    "boolean": SimpleType.BOOLEAN,
    "null": SimpleType.NONE,
}
# What a field says for the form, or what the type says itself: no part of what else a type says.
_OWN = frozenset(
    {"type", "format", "default", "title", "description", "structure", "enum", "items", "properties", "columns"}
    | {"oneOf", "additionalProperties"}
)


def literal_type(schema: Json, trail: Trail) -> LiteralType:
    """The type that a schema stands for. `Invalid` if it stands for none."""
    if not isinstance(schema, dict):
        raise trail.invalid(f"{brief(schema)} is no schema")
    if "oneOf" in schema:
        made = _union(schema, trail)
    elif schema.get("type") == "object":
        made = _object(schema, trail)
    else:
        made = _value(schema, trail)
    rest = {key: value for key, value in schema.items() if key not in _OWN}
    if rest and not made.metadata.fields:
        made.metadata.CopyFrom(message(rest))
    return made


def _value(schema: Object, trail: Trail) -> LiteralType:
    spelled, form = schema.get("type"), schema.get("format")
    if spelled == "string" and "enum" in schema:
        values = [string(value, trail.at("enum").item(i)) for i, value in enumerate(_items(schema, "enum", trail))]
        return LiteralType(enum_type=types_pb2.EnumType(values=values))
    if spelled == "string":
        return LiteralType(simple=_STRINGS.get(_name(form), SimpleType.STRING))
    if spelled == "integer":
        return LiteralType(simple=_INTEGERS.get(_name(form), SimpleType.INTEGER))
    if spelled == "array":
        items = schema.get("items", {"type": "string"})
        return LiteralType(collection_type=literal_type(items, trail.at("items")))
    if isinstance(spelled, str) and spelled in _SIMPLE:
        return LiteralType(simple=_SIMPLE[spelled])
    raise trail.invalid(f"type: {brief(spelled)} is unknown: use string, number, integer, boolean, array, object, null")


def _name(form: Json) -> str:
    return form if isinstance(form, str) else ""


def _items(schema: Object, key: str, trail: Trail) -> list[Json]:
    found = schema.get(key)
    if not isinstance(found, list):
        raise trail.at(key).invalid(f"{brief(found)} is no list")
    return found


def _object(schema: Object, trail: Trail) -> LiteralType:
    form = schema.get("format")
    if form == "blob":
        return _blob(schema, trail)
    if form == "structured-dataset":
        return _dataset(schema, trail)
    if form == "schema":
        return _schema(schema, trail)
    values = schema.get("additionalProperties")
    if isinstance(values, dict) and "properties" not in schema and "dataclass" not in schema:
        return LiteralType(map_value_type=literal_type(values, trail.at("additionalProperties")))
    told = {k: v for k, v in schema.items() if k not in ("default", "title", "structure", "additionalProperties")}
    if "dataclass" in told:
        told["title"] = told.pop("dataclass")
    if set(told) == {"type"}:
        return LiteralType(simple=SimpleType.STRUCT)
    return LiteralType(simple=SimpleType.STRUCT, metadata=message(told))


def preset(schema: Object, key: str) -> Json:
    """The default of one of an object's properties."""
    properties = schema.get("properties")
    found = properties.get(key) if isinstance(properties, dict) else None
    return found.get("default") if isinstance(found, dict) else None


def _blob(schema: Object, trail: Trail) -> LiteralType:
    dimension = preset(schema, "dimensionality") or "SINGLE"
    if not isinstance(dimension, str) or dimension not in DIMENSIONS.keys():  # noqa: SIM118 - an enum is no mapping
        raise trail.at("dimensionality").invalid(f"{brief(dimension)} is unknown: use SINGLE or MULTIPART")
    form = string(preset(schema, "format") or "", trail.at("format"))
    return LiteralType(blob=types_pb2.BlobType(format=form, dimensionality=dimension))


def _columns(schema: Object, trail: Trail) -> list[tuple[str, Object, Trail]]:
    found = []
    for i, column in enumerate(_items(schema, "columns", trail) if "columns" in schema else []):
        place = trail.at("columns").item(i)
        if not isinstance(column, dict):
            raise place.invalid(f"{brief(column)} is no column")
        found.append((string(column.get("name"), place.at("name")), column, place))
    return found


def _dataset(schema: Object, trail: Trail) -> LiteralType:
    made = types_pb2.StructuredDatasetType(format=string(preset(schema, "format") or "", trail.at("format")))
    for name, column, place in _columns(schema, trail):
        made.columns.add(name=name, literal_type=literal_type(column.get("schema"), place.at("schema")))
    return LiteralType(structured_dataset_type=made)


def _schema(schema: Object, trail: Trail) -> LiteralType:
    kinds = types_pb2.SchemaType.SchemaColumn.SchemaColumnType
    made = types_pb2.SchemaType()
    for name, column, place in _columns(schema, trail):
        spelled = column.get("type")
        if not isinstance(spelled, str) or spelled not in kinds.keys():  # noqa: SIM118 - an enum is no mapping
            raise place.at("type").invalid(f"{brief(spelled)} is unknown: use one of {', '.join(kinds.keys())}")
        made.columns.add(name=name, type=kinds.Value(spelled))
    return LiteralType(schema=made)


def _union(schema: Object, trail: Trail) -> LiteralType:
    made = types_pb2.UnionType()
    for i, variant in enumerate(_items(schema, "oneOf", trail)):
        place = trail.at("oneOf").item(i)
        kept = literal_type(variant, place)
        if isinstance(variant, dict) and (tag := variant.get("structure")):
            kept.structure.tag = string(tag, place.at("structure"))
        made.variants.append(kept)
    return LiteralType(union_type=made)
