"""Literals, and those of them that lie elsewhere."""

from collections.abc import Iterator

from flyteidl2.core import literals_pb2 as pb
from google.protobuf.message import DecodeError


def offloaded(literal: pb.Literal) -> Iterator[pb.Literal]:
    """Every literal in this one (itself too) that only says where its value is."""
    left = [literal]
    while left:
        one = left.pop()
        match one.WhichOneof("value"):
            case "offloaded_metadata":
                yield one
            case "collection":
                left.extend(one.collection.literals)
            case "map":
                left.extend(one.map.literals.values())
            case "scalar" if one.scalar.HasField("union"):
                left.append(one.scalar.union.value)


def opened(body: bytes) -> pb.Literal | None:
    """The literal in an offloaded object; None if there is none in it."""
    try:
        literal = pb.Literal.FromString(body)
    except DecodeError:
        return None
    return literal if literal.WhichOneof("value") else None
