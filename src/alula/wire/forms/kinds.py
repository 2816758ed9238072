"""What a literal's type is, in one word, and what follows from that."""

from collections.abc import Iterable

from flyteidl2.core import types_pb2
from flyteidl2.core.types_pb2 import LiteralType

_KINDS = {
    "collection_type": "list",
    "map_value_type": "map",
    "structured_dataset_type": "dataset",
    "enum_type": "enum",
    "union_type": "union",
}
# As a form names a union's variants; a variant that is a dataclass has the name of its class.
_TITLES = {"float": "number", "list": "array", "map": "object", "struct": "object", "dataset": "structured_dataset"}
_PICKLE = "FlytePickle"  # the SDK's tag; it reads such values only without a union around them


def kind(of: LiteralType) -> str:
    """``integer``, ``struct``, ``list``, ...; a type that is not set is ``none``."""
    field = of.WhichOneof("type")
    if field in (None, "simple"):
        return types_pb2.SimpleType.Name(of.simple).lower() if of.simple in types_pb2.SimpleType.values() else "none"
    return _KINDS.get(str(field), str(field))


def title(of: LiteralType) -> str:
    """The name of a union's variant."""
    name = kind(of)
    if name == "struct" and "title" in of.metadata.fields:
        return of.metadata.fields["title"].string_value
    return _TITLES.get(name, name)


def nullable(of: LiteralType) -> bool:
    """Whether it may be left out."""
    return any(kind(variant) == "none" for variant in of.union_type.variants)


def pickled(of: LiteralType) -> bool:
    """Whether it stands for a pickle: in the SDK's words, bytes here or bytes in a file."""
    return all(v.structure.tag == _PICKLE for v in of.union_type.variants)


def names(of: Iterable[str], most: int = 10) -> str:
    """Names in a message."""
    first = list(of)
    return ", ".join(first[:most]) + (", ..." if len(first) > most else "") if first else "none"
