"""From the files that a raw container left to the literals of its outputs (executor.md 6, upload)."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgpack
from flyteidl2.core import interface_pb2, literals_pb2, types_pb2
from flyteidl2.task import common_pb2
from google.protobuf import json_format, struct_pb2

from alula.copilot.objects import write_file, write_tree
from alula.core import copilot
from alula.core.errors import Invalid

_LIMIT = 10 * 1024 * 1024  # bytes of a value that travels in outputs.pb
_ERROR = "_ERROR"
_SINGLE, _MULTIPART = types_pb2.BlobType.SINGLE, types_pb2.BlobType.MULTIPART


def complaint(folder: Path) -> str | None:
    """What the container wrote to say that it failed."""
    try:
        with (folder / _ERROR).open("rb") as file:
            return file.read(1024 * 1024).decode(errors="replace").strip()
    except OSError:
        return None


def gather(folder: Path, interface: interface_pb2.TypedInterface, raw: str) -> common_pb2.Outputs:
    """The outputs; files and folders are put below ``raw``.

    Raises:
        Invalid: an output is missing, or not of its type.
    """
    found = common_pb2.Outputs()
    for entry in interface.outputs.variables:
        literal = _gather(_path(folder, entry.key), entry.value.type, f"{raw}/{entry.key}")
        found.literals.append(common_pb2.NamedLiteral(name=entry.key, value=literal))
    return found


def _path(folder: Path, name: str) -> Path:
    """The output's file or folder, which may have any extension."""
    exact = folder / name
    if exact.exists():
        return exact
    others = sorted(folder.glob(f"{name}.*"))
    if not others:
        left = ", ".join(sorted(path.name for path in folder.glob("*"))) or "nothing"
        raise Invalid(f"the container did not write its output {name!r}; it wrote: {left}")
    return others[0]


def _gather(path: Path, of: types_pb2.LiteralType, target: str) -> literals_pb2.Literal:
    match of.WhichOneof("type"):
        case "blob":
            scalar = literals_pb2.Scalar(blob=literals_pb2.Blob(uri=_put(path, target)))
            scalar.blob.metadata.type.CopyFrom(of.blob)
            scalar.blob.metadata.type.dimensionality = _MULTIPART if path.is_dir() else _SINGLE
            return literals_pb2.Literal(scalar=scalar)
        case "structured_dataset_type":
            dataset = literals_pb2.StructuredDataset(uri=_put(path, target))
            dataset.metadata.structured_dataset_type.CopyFrom(of.structured_dataset_type)
            return literals_pb2.Literal(scalar=literals_pb2.Scalar(structured_dataset=dataset))
        case _:
            text = _text(path)
            return _literal(path.name, text, of)


def _put(path: Path, target: str) -> str:
    target += "".join(path.suffixes) if path.is_file() else ""
    (write_tree(path, target) if path.is_dir() else write_file(path, target))
    return target


def _text(path: Path) -> str:
    if path.is_dir() or path.stat().st_size > _LIMIT:
        raise Invalid(f"the output {path.name} is to be a file of at most {_LIMIT} bytes: declare it as File or Dir")
    try:
        return path.read_text()
    except UnicodeDecodeError:
        raise Invalid(f"the output {path.name} is not UTF-8 text: declare it as File") from None


def _literal(name: str, text: str, of: types_pb2.LiteralType) -> literals_pb2.Literal:
    match of.WhichOneof("type"):
        case "simple" if of.simple == types_pb2.SimpleType.STRUCT:
            value = _json(name, text)
            if of.metadata:  # the SDK's dataclasses and models travel as MessagePack
                binary = literals_pb2.Binary(value=msgpack.packb(value), tag="msgpack")
                return literals_pb2.Literal(scalar=literals_pb2.Scalar(binary=binary))
            generic = json_format.ParseDict(value, struct_pb2.Struct())
            return literals_pb2.Literal(scalar=literals_pb2.Scalar(generic=generic))
        case "simple":
            return _simple(name, text, types_pb2.SimpleType.Name(of.simple).lower())
        case "enum_type":
            return _simple(name, text.strip(), "string")
        case "collection_type":
            items = [_literal(name, _spelled(one), of.collection_type) for one in _array(name, text)]
            return literals_pb2.Literal(collection=literals_pb2.LiteralCollection(literals=items))
        case "map_value_type":
            pairs = {key: _literal(name, _spelled(one), of.map_value_type) for key, one in _json(name, text).items()}
            return literals_pb2.Literal(map=literals_pb2.LiteralMap(literals=pairs))
        case "union_type":
            return _union(name, text, of.union_type)
        case other:
            raise Invalid(f"the output {name} is of a type that a container cannot write: {other}")


def _union(name: str, text: str, of: types_pb2.UnionType) -> literals_pb2.Literal:
    for variant in of.variants:
        try:
            value = _literal(name, text, variant)
        except Invalid:
            continue
        union = literals_pb2.Union(value=value, type=variant)
        return literals_pb2.Literal(scalar=literals_pb2.Scalar(union=union))
    raise Invalid(f"the output {name} is of none of its types: {text[:80]!r}")


def _simple(name: str, text: str, kind: str) -> literals_pb2.Literal:
    try:
        value = copilot.parse(kind, text)
    except Invalid as refusal:
        raise Invalid(f"the output {name}: {refusal}") from None
    primitive = literals_pb2.Primitive()
    match value:
        case None:
            return literals_pb2.Literal(scalar=literals_pb2.Scalar(none_type=literals_pb2.Void()))
        case bool():
            primitive.boolean = value
        case int():
            primitive.integer = value
        case float():
            primitive.float_value = value
        case datetime():
            primitive.datetime.FromDatetime(value.astimezone(UTC).replace(tzinfo=None))
        case timedelta():
            primitive.duration.FromTimedelta(value)
        case _:
            primitive.string_value = value
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=primitive))


def _json(name: str, text: str) -> dict[str, object]:
    value = _loaded(name, text)
    if not isinstance(value, dict):
        raise Invalid(f"the output {name} is to be a JSON object")
    return value


def _array(name: str, text: str) -> list[object]:
    value = _loaded(name, text)
    if not isinstance(value, list):
        raise Invalid(f"the output {name} is to be a JSON array")
    return value


def _loaded(name: str, text: str) -> object:
    try:
        value: object = json.loads(text)
    except ValueError:
        raise Invalid(f"the output {name} is to be JSON, and is {text.strip()[:80]!r}") from None
    return value


def _spelled(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
