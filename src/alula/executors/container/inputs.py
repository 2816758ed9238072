"""From the literals of a task's inputs to the files that a raw container finds (executor.md 6, download)."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC
from pathlib import Path

import msgpack
from flyteidl2.core import literals_pb2, types_pb2
from flyteidl2.task import common_pb2
from google.protobuf import json_format

from alula.core import copilot
from alula.core.copilot import Tree
from alula.core.errors import Invalid
from alula.executors.container.objects import read, read_tree

_MULTIPART = types_pb2.BlobType.MULTIPART


@dataclass(slots=True)
class Inputs:
    """The folder that is filled, and what the inputs are by their names.

    ``inside`` is the folder's path for the container.
    """

    folder: Path
    inside: str
    named: bool
    values: dict[str, Tree] = field(default_factory=dict)

    def lay(self, body: bytes, form: str) -> None:
        """Write every input, and the file that describes them all.

        Raises:
            Invalid: an input is of a kind that no file can hold.
            OSError: an object cannot be read.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        found = common_pb2.Inputs.FromString(body)
        for entry in found.literals:
            self.values[entry.name] = self._write(entry.value, self.folder / _safe(entry.name))
        (self.folder / "inputs.pb").write_bytes(body)
        described = copilot.plain(self.values)
        if form != "proto":  # JSON is YAML, too
            (self.folder / f"inputs.{form}").write_text(json.dumps(described, indent=1))

    def _write(self, literal: literals_pb2.Literal, path: Path) -> Tree:
        if literal.WhichOneof("value") == "offloaded_metadata":
            literal = literals_pb2.Literal.FromString(read(literal.offloaded_metadata.uri))
        match literal.WhichOneof("value"):
            case "scalar":
                return self._write_scalar(literal.scalar, path)
            case "collection":
                path.mkdir()
                return [self._write(one, path / str(at)) for at, one in enumerate(literal.collection.literals)]
            case "map":
                path.mkdir()
                return {key: self._write(one, path / _safe(key)) for key, one in literal.map.literals.items()}
        raise Invalid(f"the input {path.name} has no value")

    def _write_scalar(self, scalar: literals_pb2.Scalar, path: Path) -> Tree:
        match scalar.WhichOneof("value"):
            case "primitive":
                value = _primitive(scalar.primitive)
                path.write_text(copilot.file_text(value))
                return value
            case "none_type":
                path.write_text("null")
                return None
            case "blob":
                return self._fetch(scalar.blob.uri, path, scalar.blob.metadata.type.dimensionality == _MULTIPART)
            case "structured_dataset":
                return self._fetch(scalar.structured_dataset.uri, path, True)
            case "schema":
                return self._fetch(scalar.schema.uri, path, True)
            case "generic":
                text = json_format.MessageToJson(scalar.generic)
                path.write_text(text)
                return text
            case "binary":
                path.write_bytes(scalar.binary.value)
                return _unpacked(scalar.binary)
            case "union":
                return self._write(scalar.union.value, path)
            case other:
                raise Invalid(f"the input {path.name} is of a kind that no file can hold: {other}")

    def _fetch(self, uri: str, path: Path, tree: bool) -> str:
        if tree:
            read_tree(uri, path)
        else:
            if self.named:
                path.mkdir()
                path = path / (os.path.basename(uri.rstrip("/")) or path.name)
            content = read(uri)
            path.write_bytes(content)
        return f"{self.inside}/{path.relative_to(self.folder).as_posix()}"


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


def _safe(name: str) -> str:
    """A name that can be a file in its folder.

    Raises:
        Invalid: it would be another's.
    """
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise Invalid(f"{name!r} cannot be the name of a file")
    return name
