"""Types as JSON Schema, in the shapes that Flyte's consoles know."""

from collections.abc import Callable
from typing import cast

from flyteidl2.core import types_pb2
from flyteidl2.core.types_pb2 import LiteralType

from alula.wire.forms.kinds import kind, title
from alula.wire.forms.structs import plain
from alula.wire.forms.trail import Json, Object, Trail

_SIMPLE: dict[str, tuple[str, str]] = {  # the type and the format of what is spelled in one JSON value
    "none": ("null", ""),
    "integer": ("integer", ""),
    "float": ("number", "float"),
    "string": ("string", ""),
    "boolean": ("boolean", ""),
    "datetime": ("string", "datetime"),
    "duration": ("string", "duration"),
    "binary": ("string", "binary"),
    "error": ("string", "error"),
}
DIMENSIONS = types_pb2.BlobType.BlobDimensionality


def schema(of: LiteralType, trail: Trail) -> Object:
    """A type's schema. What a type says beside its kind (bounds, patterns) is in it too."""
    name = kind(of)
    if name == "struct":
        return _struct(of, trail)
    return {**plain(of.metadata, trail), **_shape(name, of, trail)}


def _shape(name: str, of: LiteralType, trail: Trail) -> Object:
    if name in _SIMPLE:
        spelled, form = _SIMPLE[name]
        return {"type": spelled, "format": form} if form else {"type": spelled}
    return _SHAPES[name](of, trail)


def _struct(of: LiteralType, trail: Trail) -> Object:
    if not of.metadata.fields:
        return {"type": "object", "additionalProperties": True}
    told = {"type": "object", **plain(of.metadata, trail)}
    told.pop("additionalProperties", None)
    if "title" in told:
        told["dataclass"] = told.pop("title")
    return told


def _list(of: LiteralType, trail: Trail) -> Object:
    return {"type": "array", "items": schema(of.collection_type, trail.at("items"))}


def _map(of: LiteralType, trail: Trail) -> Object:
    return {"type": "object", "additionalProperties": schema(of.map_value_type, trail.at("additionalProperties"))}


def _enum(of: LiteralType, trail: Trail) -> Object:
    return {"type": "string", "enum": list(of.enum_type.values)}


def _blob(of: LiteralType, trail: Trail) -> Object:
    dimensions = cast("Json", DIMENSIONS.keys())
    properties: Object = {
        "uri": {"type": "string", "default": ""},
        "format": {"type": "string", "default": of.blob.format},
        "dimensionality": {"type": "string", "enum": dimensions, "default": dimension(of.blob.dimensionality, trail)},
    }
    return {"type": "object", "format": "blob", "properties": properties}


def dimension(of: int, trail: Trail) -> str:
    """``SINGLE`` or ``MULTIPART``."""
    if of not in DIMENSIONS.values():
        raise trail.invalid(f"{of} is no dimensionality: 0 is a file, 1 a folder")
    return DIMENSIONS.Name(cast("types_pb2.BlobType.BlobDimensionality", of))


def _dataset(of: LiteralType, trail: Trail) -> Object:
    told = of.structured_dataset_type
    properties: Object = {"uri": {"type": "string"}, "format": {"type": "string"}}
    if told.format:
        properties["format"] = {"type": "string", "default": told.format}
    made: Object = {"type": "object", "format": "structured-dataset", "properties": properties}
    if told.columns:
        made["columns"] = [
            {"name": column.name, "schema": schema(column.literal_type, trail.at("columns").item(i))}
            for i, column in enumerate(told.columns)
        ]
    return made


def _schema(of: LiteralType, trail: Trail) -> Object:
    """Flyte 1's tables. Nothing makes them any more; what is left of them can be shown and passed on."""
    made: Object = {"type": "object", "format": "schema", "properties": {"uri": {"type": "string"}}}
    if of.schema.columns:
        kinds = types_pb2.SchemaType.SchemaColumn.SchemaColumnType
        made["columns"] = [{"name": c.name, "type": kinds.Name(c.type)} for c in of.schema.columns]
    return made


def _union(of: LiteralType, trail: Trail) -> Object:
    variants: list[Json] = []
    for i, variant in enumerate(of.union_type.variants):
        made = {**schema(variant, trail.at("variants").item(i)), "title": title(variant)}
        if variant.structure.tag:
            made["structure"] = variant.structure.tag
        variants.append(made)
    return {"oneOf": variants, "format": "union"}


_SHAPES: dict[str, Callable[[LiteralType, Trail], Object]] = {
    "list": _list,
    "map": _map,
    "enum": _enum,
    "blob": _blob,
    "dataset": _dataset,
    "schema": _schema,
    "union": _union,
}
