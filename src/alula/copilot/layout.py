"""From the literals of a task's inputs to what is where: files, folders and values (executor.md 6). Pure.

Who fills ``{{.inputs.name}}`` into a command asks for the values alone, and may be elsewhere.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from pathlib import PurePosixPath as Path

import msgpack
from flyteidl2.core import literals_pb2, types_pb2
from flyteidl2.task import common_pb2
from google.protobuf import json_format

from alula.core import copilot
from alula.core.copilot import Tree
from alula.core.errors import Invalid

_MULTIPART = types_pb2.BlobType.MULTIPART


@dataclass(frozen=True, slots=True)
class Object:
    """An object of the store that is to be at a path: a file, or with ``tree`` all that is below its URI."""

    uri: str
    tree: bool


@dataclass(slots=True)
class Layout:
    """What is to be made in a folder, in this order, and what the inputs are by their names.

    ``inside`` is the folder's path for the container. ``named``: files keep their names. ``content`` reads an object:
    literals that are too large to travel are kept as such. Paths are relative; `None` stands for a folder.
    """

    inside: str
    named: bool
    content: Callable[[str], bytes]
    values: dict[str, Tree] = field(default_factory=dict)
    entries: dict[Path, bytes | Object | None] = field(default_factory=dict)

    def add(self, body: bytes) -> None:
        """Add the inputs of a serialized `task.Inputs`.

        Raises:
            Invalid: an input is of a kind that no file can hold.
        """
        for entry in common_pb2.Inputs.FromString(body).literals:
            self.values[entry.name] = self._put(entry.value, Path(_safe(entry.name)))

    def _put(self, literal: literals_pb2.Literal, path: Path) -> Tree:
        if literal.WhichOneof("value") == "offloaded_metadata":
            literal = literals_pb2.Literal.FromString(self.content(literal.offloaded_metadata.uri))
        match literal.WhichOneof("value"):
            case "scalar":
                return self._put_scalar(literal.scalar, path)
            case "collection":
                self.entries[path] = None
                return [self._put_item(one, path, at) for at, one in enumerate(literal.collection.literals)]
            case "map":
                self.entries[path] = None
                return {key: self._put(one, path / _safe(key)) for key, one in literal.map.literals.items()}
        raise Invalid(f"the input {path.name} has no value")

    def _put_item(self, literal: literals_pb2.Literal, folder: Path, at: int) -> Tree:
        """An item of a list. Files that keep their names lie side by side in the list's own folder."""
        blob = literal.scalar.blob
        if not self.named or not blob.uri or blob.metadata.type.dimensionality == _MULTIPART:
            return self._put(literal, folder / str(at))
        name = _last(blob.uri)
        if not name or folder / name in self.entries:
            name = f"{at}_{name}"
        return self._refer(Object(blob.uri, False), folder / name)

    def _put_scalar(self, scalar: literals_pb2.Scalar, path: Path) -> Tree:
        match scalar.WhichOneof("value"):
            case "primitive":
                value = _primitive(scalar.primitive)
                self.entries[path] = copilot.file_text(value).encode()
                return value
            case "none_type":
                self.entries[path] = b"null"
                return None
            case "blob":
                return self._put_blob(scalar.blob, path)
            case "structured_dataset":
                return self._refer(Object(scalar.structured_dataset.uri, True), path)
            case "schema":
                return self._refer(Object(scalar.schema.uri, True), path)
            case "generic":
                text = json_format.MessageToJson(scalar.generic)
                self.entries[path] = text.encode()
                return text
            case "binary":
                self.entries[path] = scalar.binary.value
                return _unpacked(scalar.binary)
            case "union":
                return self._put(scalar.union.value, path)
            case other:
                raise Invalid(f"the input {path.name} is of a kind that no file can hold: {other}")

    def _put_blob(self, blob: literals_pb2.Blob, path: Path) -> Tree:
        tree = blob.metadata.type.dimensionality == _MULTIPART
        if self.named and not tree:
            self.entries[path] = None
            path = path / (_last(blob.uri) or path.name)
        return self._refer(Object(blob.uri, tree), path)

    def _refer(self, found: Object, path: Path) -> str:
        self.entries[path] = found
        return f"{self.inside}/{path}"


def _primitive(primitive: literals_pb2.Primitive) -> copilot.Value:
    match primitive.WhichOneof("value"):
        case "datetime":
            return primitive.datetime.ToDatetime(tzinfo=UTC)
        case "duration":
            return primitive.duration.ToTimedelta()
        case str(name):
            value: copilot.Value = getattr(primitive, name)
            return value
        case _:
            return None


def _unpacked(binary: literals_pb2.Binary) -> Tree:
    """A dataclass or dict travels as MessagePack; anything else is not described."""
    try:
        value = msgpack.unpackb(binary.value, strict_map_key=False)
    except (ValueError, msgpack.UnpackException):
        return None
    return _tree(value)


def _tree(value: object) -> Tree:
    if isinstance(value, Mapping):
        return {str(key): _tree(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_tree(item) for item in value]
    return value if isinstance(value, bool | int | float | str) else None if value is None else str(value)


def _last(uri: str) -> str:
    """An object's own name; "" if it has none that a file can have."""
    name = uri.rstrip("/").rpartition("/")[2]
    return "" if name in (".", "..") or "\0" in name else name


def _safe(name: str) -> str:
    """A name that can be a file in its folder.

    Raises:
        Invalid: it would be another's.
    """
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise Invalid(f"{name!r} cannot be the name of a file")
    return name
