"""`google.protobuf.Struct`, as JSON values and back."""

from google.protobuf.struct_pb2 import ListValue, Struct, Value

from alula.wire.forms.trail import Json, Object, OutOfBounds, Trail

# Protobuf's parsers refuse what is nested more than 100 messages deep; one level is the response around the Struct.
_MAX_LEVELS = 99


def plain(message: Struct, trail: Trail) -> Object:
    """A Struct as JSON. All numbers are floats: a Struct knows no others."""
    return {key: _plain(value, trail.at(key)) for key, value in message.fields.items()}


def _plain(value: Value, trail: Trail) -> Json:
    match value.WhichOneof("kind"):
        case "number_value":
            return value.number_value
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "struct_value":
            return plain(value.struct_value, trail)
        case "list_value":
            return [_plain(item, trail.item(i)) for i, item in enumerate(value.list_value.values)]
        case _:
            return None


def message(value: Object) -> Struct:
    """JSON as a Struct. `Invalid` if it is nested so deeply that clients could not read it."""
    made = Struct()
    _fill(made, value, 1)
    return made


def _fill(made: Struct, value: Object, level: int) -> None:
    made.SetInParent()
    for key, item in value.items():
        _set(made.fields[key], item, level + 2)


def _set(made: Value, value: Json, level: int) -> None:
    if level >= _MAX_LEVELS:
        raise OutOfBounds("nested too deeply for a form: flatten the type or the value")
    match value:
        case None:
            made.null_value = 0  # type: ignore[assignment]
        case bool():
            made.bool_value = value
        case int() | float():
            made.number_value = value
        case str():
            made.string_value = value
        case list():
            _extend(made.list_value, value, level + 1)
        case dict():
            _fill(made.struct_value, value, level + 1)


def _extend(made: ListValue, value: list[Json], level: int) -> None:
    made.SetInParent()
    for item in value:
        _set(made.values.add(), item, level + 1)
