"""What the task `build-image` reads and writes in the object store: its inputs, its outputs or its error."""

from dataclasses import dataclass

import obstore
from flyteidl2.core import execution_pb2, literals_pb2
from flyteidl2.task import common_pb2
from obstore.store import ObjectStore, from_url

from alula.core import image as images

OUTPUT = "fully_qualified_image_name"


@dataclass(frozen=True, slots=True)
class Asked:
    """The inputs of the task: where the specification and the files it names are, and what the image is called."""

    spec: str
    context: str
    target: str


class Objects:
    """The object store, reached as tasks reach it: by their variables."""

    def get(self, uri: str) -> bytes:
        store, key = _at(uri)
        return bytes(obstore.get(store, key).bytes())

    def put(self, uri: str, body: bytes) -> None:
        store, key = _at(uri)
        obstore.put(store, key, body)


def _at(uri: str) -> tuple[ObjectStore, str]:
    scheme, _, path = uri.partition("://")
    bucket, _, key = path.partition("/")
    return from_url(f"{scheme}://{bucket}", client_options={"allow_http": True}), key


def asked(body: bytes) -> Asked:
    """The task's inputs.pb. Of a union, what it holds."""
    found = {}
    for literal in common_pb2.Inputs.FromString(body).literals:
        scalar = literal.value.scalar
        if scalar.WhichOneof("value") == "union":
            scalar = scalar.union.value.scalar
        found[literal.name] = scalar.primitive.string_value
    return Asked(found["spec"], found.get("context", ""), images.short(found["target_image"]))


def outputs(uri: str) -> bytes:
    """The task's outputs.pb: what the image is called."""
    primitive = literals_pb2.Primitive(string_value=uri)
    value = literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=primitive))
    return common_pb2.Outputs(literals=[common_pb2.NamedLiteral(name=OUTPUT, value=value)]).SerializeToString()


def error(message: str, *, users: bool) -> bytes:
    """The task's error.pb."""
    origin = execution_pb2.ExecutionError.USER if users else execution_pb2.ExecutionError.SYSTEM
    kind = execution_pb2.ContainerError.NON_RECOVERABLE
    found = execution_pb2.ContainerError(code="ImageBuildError", message=message, kind=kind, origin=origin)
    return execution_pb2.ErrorDocument(error=found).SerializeToString()
