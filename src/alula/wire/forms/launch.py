"""Whole launch forms: what the four rpcs of the translator turn into one another."""

from collections.abc import Iterable, Mapping

from flyteidl2.core import interface_pb2
from flyteidl2.core import literals_pb2 as pb
from flyteidl2.core.types_pb2 import LiteralType
from flyteidl2.task import common_pb2, task_definition_pb2
from google.protobuf.struct_pb2 import Struct

from alula.wire.forms.kinds import kind, names, nullable
from alula.wire.forms.read import NULL, read
from alula.wire.forms.schemas import schema
from alula.wire.forms.shown import shown
from alula.wire.forms.structs import message, plain
from alula.wire.forms.trail import Json, Object, Trail, brief
from alula.wire.forms.types import literal_type

ORDER = "ui:order"
Named = list[common_pb2.NamedLiteral]


def of_task(spec: task_definition_pb2.TaskSpec) -> Struct:
    """The form of a task: its inputs in their order, each with its default if it has one; then it is not required."""
    defaults = {one.name: one.parameter for one in spec.default_inputs}
    fields: Object = {}
    required: list[str] = []
    trail = Trail("task_spec")
    for entry in spec.task_template.interface.inputs.variables:
        default = defaults.get(entry.key, interface_pb2.Parameter())
        literal = default.default if default.HasField("default") else None
        fields[entry.key] = _field(entry, literal, trail.at(entry.key))
        optional = literal is not None or (default.HasField("required") and not default.required)
        if not optional and not nullable(entry.value.type):
            required.append(entry.key)
    return _form(fields, required)


def of_literals(literals: Iterable[common_pb2.NamedLiteral], variables: interface_pb2.VariableMap) -> Struct:
    """The form of those variables that have a literal: it is the field's default."""
    given = {one.name: one.value for one in literals}
    trail = Trail("literals")
    fields: Object = {}
    required: list[str] = []
    for entry in variables.variables:
        if entry.key in given:
            field = _field(entry, given[entry.key], trail.at(entry.key))
            fields[entry.key] = field
            if field.get("default") != NULL and not nullable(entry.value.type):
                required.append(entry.key)
    return _form(fields, required)


def _form(fields: Object, required: list[str]) -> Struct:
    order: list[Json] = list(fields)
    return message(
        {"type": "object", "properties": fields, "required": list(required), "title": "Launch Form", ORDER: order}
    )


def _field(entry: interface_pb2.VariableEntry, default: pb.Literal | None, trail: Trail) -> Object:
    of = entry.value.type
    made = schema(of, trail)
    if entry.value.description and entry.value.description != entry.key:
        made["description"] = entry.value.description
    if default is None:
        return made
    value = shown(of, default, trail)
    if kind(of) != "blob" or not isinstance(value, dict) or "uri" not in value:
        return {**made, "default": value}
    properties = made["properties"]
    told = properties if isinstance(properties, dict) else {}
    for key, part in value.items():  # a blob's default is told by its parts
        known = told.get(key)
        told[key] = {**(known if isinstance(known, dict) else {"type": "string"}), "default": part}
    return made


def literals_of_values(variables: interface_pb2.VariableMap, values: Struct) -> Named:
    """The literals of all variables, in their order. `Invalid` for a value too many, too few, or of another type."""
    trail = Trail("values")
    given = plain(values, trail)
    known = {entry.key: entry.value.type for entry in variables.variables}
    for key in sorted(given):
        if key not in known:
            raise trail.at(key).invalid(f"is no input: the inputs are {names(known)}")
    return [common_pb2.NamedLiteral(name=key, value=_value(of, given, key, trail)) for key, of in known.items()]


def _value(of: LiteralType, given: Mapping[str, Json], key: str, trail: Trail) -> pb.Literal:
    if key not in given and not nullable(of):
        raise trail.at(key).invalid("is missing: give it a value")
    return read(of, given.get(key), trail.at(key))


def literals_of_form(form: Struct) -> Named:
    """The literals that the defaults of a form stand for, in its order. A field without default is left out, unless it
    may be null.

    Raises:
        Invalid: with the path of what is wrong; also for a form without properties.
    """
    trail = Trail("json")
    told = plain(form, trail)
    properties = told.get("properties")
    if not isinstance(properties, dict):
        raise trail.at("properties").invalid("is missing: give the form's fields")
    made: Named = []
    for key in _order(told, properties):
        place = trail.at("properties").at(key)
        field = properties[key]
        of = literal_type(field, place)
        default = _default(field if isinstance(field, dict) else {}, place)
        if default is not None or nullable(of):
            value = read(of, default, place.at("default"))
            made.append(common_pb2.NamedLiteral(name=key, value=value))
    return made


def _order(form: Object, properties: Object) -> list[str]:
    """A form's fields as it lists them; those that no list names, by name."""
    lists = [form.get(ORDER), form.get("required")]
    listed = [
        key for one in lists if isinstance(one, list) for key in one if isinstance(key, str) and key in properties
    ]
    return list(dict.fromkeys([*listed, *sorted(properties)]))


def _default(field: Object, trail: Trail) -> Json:
    """A field's default: its own, or, of an object, that of its parts; None if there is none."""
    if "default" in field or field.get("type") != "object":
        return field.get("default")
    told = field.get("properties")
    if told is not None and not isinstance(told, dict):
        raise trail.at("properties").invalid(f"{brief(told)} is no object")
    parts: Object = {}
    for key, part in sorted((told or {}).items()):
        value = _default(part, trail.at(key)) if isinstance(part, dict) else None
        if value is not None:
            parts[key] = value
    if field.get("format") in ("blob", "structured-dataset", "schema"):
        return parts if parts.get("uri") else None
    required = field.get("required")
    needed = required if isinstance(required, list) else []
    return parts if parts and all(key in parts for key in needed) else None
