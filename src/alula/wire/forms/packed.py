"""The insides of dataclasses, models and free dicts: MessagePack, by the JSON Schema that their type carries.

The SDK's transformers read MessagePack by the Python type. JSON knows neither bytes nor keys that are no strings, and
a `Struct` has no integers: the schema says where they were. What it cannot say is kept beside the value, under
``$msgpack``, and is used again as long as nobody has changed the value.
"""

from collections.abc import Callable
from dataclasses import dataclass

import msgpack

from alula.core.errors import Invalid
from alula.wire.forms import spelling
from alula.wire.forms.kinds import names
from alula.wire.forms.trail import Json, Object, OutOfBounds, Trail, brief

EXACT = "$msgpack"
_WHOLE = (-(2**63), 2**64 - 1)  # what MessagePack holds


@dataclass(frozen=True, slots=True)
class Packed:
    """A value to pack, and how far it is from what the schema says: 0 is exact."""

    value: object
    distance: int


def unpacked(body: bytes, trail: Trail) -> object:
    """The value in MessagePack. `Invalid` if the bytes are something else."""
    try:
        return msgpack.unpackb(body, strict_map_key=False)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise trail.invalid(f"is no MessagePack: {brief(error)}") from None


def shown(value: object, trail: Trail) -> Json:
    """An unpacked value as JSON."""
    match value:
        case None | bool() | str():
            return value
        case int():
            return spelling.integer_json(value)
        case float():
            return spelling.number_json(value)
        case bytes():
            return spelling.binary_json(value)
        case list() | tuple():
            return [shown(item, trail.item(i)) for i, item in enumerate(value)]
        case dict():
            return {_key(key): shown(item, trail.at(_key(key))) for key, item in value.items()}
        case msgpack.ExtType():
            return spelling.binary_json(value.data)
        case _:
            return str(value)


def _key(key: object) -> str:
    return key if isinstance(key, str) else spelling.binary_json(key) if isinstance(key, bytes) else str(key)


def exact(body: bytes, schema: Object, trail: Trail) -> Json:
    """MessagePack as JSON from which `packed` makes the same value again."""
    value = unpacked(body, trail)
    told = shown(value, trail)
    if not isinstance(told, dict):
        return told
    try:
        again = packed(schema, told, trail).value == value
    except OutOfBounds:
        raise
    except Invalid:
        again = False
    return told if again and EXACT not in told else {**told, EXACT: spelling.binary_json(body)}


def kept(value: Json, trail: Trail) -> bytes | None:
    """The bytes that lie beside a value, if they still are what it says."""
    if not isinstance(value, dict) or EXACT not in value:
        return None
    body = spelling.binary(value[EXACT], trail.at(EXACT))
    told = shown(unpacked(body, trail.at(EXACT)), trail)
    return body if isinstance(told, dict) and {**told, EXACT: value[EXACT]} == value else None


def pack(schema: Object, value: Json, trail: Trail) -> tuple[bytes, int]:
    """JSON as MessagePack, and how far it is from the schema. `Invalid` if it does not fit."""
    if (body := kept(value, trail)) is not None:
        return body, 0
    if isinstance(value, dict):
        value = {key: item for key, item in value.items() if key != EXACT}
    made = packed(schema, value, trail)
    return msgpack.packb(made.value), made.distance


def packed(schema: Object, value: Json, trail: Trail) -> Packed:
    """JSON as the value to pack."""
    return _Reader(schema).read(schema, value, trail)


class _Reader:
    """Reads values by one schema, whose definitions its parts refer to."""

    def __init__(self, root: Object) -> None:
        self._root = root
        self._by_type: dict[str, Callable[[Object, Json, Trail], Packed]] = {
            "null": self._null,
            "boolean": lambda _, value, trail: Packed(spelling.boolean(value, trail), 0),
            "integer": self._integer,
            "number": self._number,
            "string": self._string,
            "array": self._array,
            "object": self._object,
        }

    def read(self, node: Json, value: Json, trail: Trail) -> Packed:
        if not isinstance(node, dict):
            return self._free(value, trail)
        if isinstance(reference := node.get("$ref"), str):
            return self.read(self._found(reference, trail), value, trail.same())
        for word in ("anyOf", "oneOf", "allOf"):
            if isinstance(variants := node.get(word), list) and (word != "allOf" or len(variants) == 1):
                return self._best(variants, value, trail)
        spelled = node.get("type")
        if isinstance(spelled, list):
            return self._best([{**node, "type": one} for one in spelled], value, trail)
        name = spelled if isinstance(spelled, str) else "object" if "properties" in node else ""
        made = self._by_type.get(name, self._any)(node, value, trail)
        self._check_listed(node, made.value, trail)
        return made

    def _found(self, reference: str, trail: Trail) -> Json:
        """What ``#/$defs/Name`` stands for."""
        node: Json = self._root
        for step in reference.removeprefix("#/").split("/"):
            node = node.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(node, dict) else None
        if node is None:
            raise trail.invalid(f"the type's schema has no {brief(reference)}")
        return node

    def _best(self, variants: list[Json], value: Json, trail: Trail) -> Packed:
        """The variant that the value fits best; the first of several."""
        best, refusals = None, []
        for variant in variants:
            try:
                made = self.read(variant, value, trail.same())
            except OutOfBounds:
                raise
            except Invalid as error:
                refusals.append(str(error))
                continue
            if best is None or made.distance < best.distance:
                best = made
        if best is None:
            raise Invalid(
                refusals[0] if len(refusals) == 1 else f"{trail}: fits no variant: {'; '.join(refusals)[:500]}"
            )
        return best

    def _check_listed(self, node: Object, value: object, trail: Trail) -> None:
        listed = [node["const"]] if "const" in node else node.get("enum")
        # Enums of pydantic stand in definitions, by names, while their defaults and some values are told by value.
        if isinstance(listed, list) and value not in listed and not self._defined(node):
            raise trail.invalid(f"{brief(value)} is none of {names(map(str, listed))}")

    def _defined(self, node: Object) -> bool:
        definitions = self._root.get("$defs")
        return isinstance(definitions, dict) and any(found is node for found in definitions.values())

    def _any(self, node: Object, value: Json, trail: Trail) -> Packed:
        made = self._free(value, trail)
        return Packed(made.value, 0) if "enum" in node or "const" in node else made

    def _free(self, value: Json, trail: Trail) -> Packed:
        """A value of which no schema speaks: a number that is whole becomes an integer."""
        match value:
            case bool():
                return Packed(value, 3)
            case float() if value.is_integer() and abs(value) <= spelling.EXACT:
                return Packed(int(value), 3)
            case list():
                return Packed([self._free(item, trail.item(i)).value for i, item in enumerate(value)], 3)
            case dict():
                return Packed({key: self._free(value[key], trail.at(key)).value for key in sorted(value)}, 3)
            case _:
                return Packed(value, 3)

    def _null(self, _: Object, value: Json, trail: Trail) -> Packed:
        if value is not None:
            raise trail.invalid(f"{brief(value)} is not null")
        return Packed(None, 0)

    def _integer(self, _: Object, value: Json, trail: Trail) -> Packed:
        return Packed(spelling.integer(value, trail, _WHOLE), 3 if isinstance(value, str) else 0)

    def _number(self, _: Object, value: Json, trail: Trail) -> Packed:
        made = spelling.number(value, trail)
        return Packed(made, 3 if isinstance(value, str) else int(made.is_integer()))

    def _string(self, node: Object, value: Json, trail: Trail) -> Packed:
        if node.get("format") == "base64":
            return Packed(spelling.binary(value, trail), 4)
        return Packed(spelling.string(value, trail), 0 if "enum" in node or "const" in node else 2)

    def _array(self, node: Object, value: Json, trail: Trail) -> Packed:
        if not isinstance(value, list):
            raise trail.invalid(f"{brief(value)} is no list")
        fixed = node.get("prefixItems")
        first = fixed if isinstance(fixed, list) else []
        kinds = [*first, *([node.get("items")] * (len(value) - len(first)))]
        made = [self.read(kind, item, trail.item(i)) for i, (kind, item) in enumerate(zip(kinds, value, strict=False))]
        if len(made) < len(first) and node.get("minItems") is not None:
            raise trail.invalid(f"has {len(made)} items, not {len(first)}")
        return Packed([item.value for item in made], max((item.distance for item in made), default=0))

    def _object(self, node: Object, value: Json, trail: Trail) -> Packed:
        if not isinstance(value, dict):
            raise trail.invalid(f"{brief(value)} is no object")
        told = node.get("properties")
        properties = told if isinstance(told, dict) else {}
        order = _order(node, properties)
        extra = [key for key in sorted(value) if key not in properties]
        others = node.get("additionalProperties", True)
        if extra and others is False:
            raise trail.at(extra[0]).invalid(f"is no field: the fields are {names(order)}")
        missing = [key for key in _required(node) if key not in value]
        if missing and not extra:  # a field that is unknown here may be one that is known to the task under an alias
            raise trail.at(missing[0]).invalid("is missing")
        made = {key: self.read(properties[key], value[key], trail.at(key)) for key in order if key in value}
        fields: dict[object, object] = {key: item.value for key, item in made.items()}
        distance = max((item.distance for item in made.values()), default=0)
        key_of = _key_reader(node)
        for key in extra:
            place = trail.at(key)
            item = self.read(others, value[key], place)
            fields[key_of(key, place)] = item.value
            distance = max(distance, item.distance, 3 if properties else 1)
        return Packed(fields, distance)


def _required(node: Object) -> list[str]:
    told = node.get("required")
    return [key for key in told if isinstance(key, str)] if isinstance(told, list) else []


def _order(node: Object, properties: Object) -> list[str]:
    """A schema's fields: those that are required in their order, as the SDK has it, then the others by name."""
    required = [key for key in _required(node) if key in properties]
    return required + sorted(properties.keys() - set(required))


def _key_reader(node: Object) -> Callable[[str, Trail], object]:
    told = node.get("propertyNames")
    kind = told.get("type") if isinstance(told, dict) else None
    if kind == "integer":
        return lambda key, trail: spelling.integer(key, trail, _WHOLE)
    if kind == "number":
        return _float_key
    return lambda key, _: key


def _float_key(key: str, trail: Trail) -> float:
    try:
        return float(key)
    except ValueError:
        raise trail.invalid("is no number") from None
