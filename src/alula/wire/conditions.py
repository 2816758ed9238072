"""Conditions: questions to people, and the values they are answered with."""

from typing import Any

from flyteidl2.core import literals_pb2, types_pb2
from flyteidl2.task import common_pb2
from flyteidl2.workflow import run_definition_pb2, run_service_pb2

from alula.core.action import Policy
from alula.core.errors import Invalid
from alula.wire import times

_TYPES: dict[int, str] = {  # what can be asked for, and the field of `core.Primitive` that answers it
    types_pb2.BOOLEAN: "boolean",
    types_pb2.INTEGER: "integer",
    types_pb2.FLOAT: "float_value",
    types_pb2.STRING: "string_value",
}
_OUTPUT = "o0"  # what the SDK calls the first output


def check(message: run_definition_pb2.ConditionAction) -> None:
    """Only what a person can type may be asked for.

    Raises:
        Invalid: the type is another.
    """
    if not message.type.HasField("simple") or message.type.simple not in _TYPES:
        raise Invalid("condition.type: a condition asks for a boolean, an integer, a float or a string")


def policy(message: run_definition_pb2.ConditionAction) -> Policy:
    """How long to wait for the answer; without a timeout, for ever."""
    return Policy(patience=max(0.0, times.seconds(message.timeout)))


def opened(spec: bytes) -> run_definition_pb2.ConditionAction:
    """A condition as it was asked."""
    return run_definition_pb2.ConditionAction.FromString(spec)


def type_name(message: run_definition_pb2.ConditionAction) -> str:
    """The type as rows keep it."""
    return types_pb2.SimpleType.Name(message.type.simple)


def named_type(name: str) -> types_pb2.LiteralType:
    """The type as rows keep it, on the wire again."""
    return types_pb2.LiteralType(simple=name)


def answer(payload: run_service_pb2.EventPayload) -> bytes:
    """A signal's value, as it is stored."""
    primitive = literals_pb2.Primitive()
    match payload.WhichOneof("value"):
        case "bool_value":
            primitive.boolean = payload.bool_value
        case "int_value":
            primitive.integer = payload.int_value
        case "float_value":
            primitive.float_value = payload.float_value
        case "string_value":
            primitive.string_value = payload.string_value
    return _stored(primitive)


def parsed(spec: bytes, value: Any) -> bytes:
    """A value of JSON as the answer that a condition asks for.

    Raises:
        Invalid: it is none.
    """
    asked = type_name(opened(spec))
    primitive = literals_pb2.Primitive()
    match asked, value:
        case "BOOLEAN", bool():
            primitive.boolean = value
        case "INTEGER", int() if not isinstance(value, bool) and -(2**63) <= value < 2**63:
            primitive.integer = value
        case "FLOAT", int() | float() if not isinstance(value, bool):
            primitive.float_value = float(value)
        case "STRING", str():
            primitive.string_value = value
        case _:
            raise Invalid(f"value: {value!r:.80} is no {asked.lower()}, which this condition asks for")
    return _stored(primitive)


def _stored(primitive: literals_pb2.Primitive) -> bytes:
    literal = literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=primitive))
    return literal.SerializeToString(deterministic=True)


def check_answer(spec: bytes, value: bytes) -> None:
    """Whether a literal is of the type that was asked for.

    Raises:
        Invalid: it is of another.
    """
    asked = opened(spec).type.simple
    given = literals_pb2.Literal.FromString(value).scalar.primitive.WhichOneof("value")
    if given != _TYPES[asked]:
        wanted = types_pb2.SimpleType.Name(asked).lower()
        raise Invalid(f"value: the condition asks for a {wanted}; this is {given or 'no primitive value'}")


def outputs(value: bytes) -> bytes:
    """The answer as the outputs of an action."""
    literal = literals_pb2.Literal.FromString(value)
    answered = common_pb2.Outputs(literals=[common_pb2.NamedLiteral(name=_OUTPUT, value=literal)])
    return answered.SerializeToString(deterministic=True)
