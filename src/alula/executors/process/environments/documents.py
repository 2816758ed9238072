"""What the task `build-image` reads and writes in the object store: its inputs, its outputs or its error."""

import os
from dataclasses import dataclass

from flyteidl2.core import execution_pb2, literals_pb2
from flyteidl2.task import common_pb2
from obstore.store import S3Store

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
        store, key = self._at(uri)
        return bytes(store.get(key).bytes())

    def put(self, uri: str, body: bytes) -> None:
        store, key = self._at(uri)
        store.put(key, body)

    def _at(self, uri: str) -> tuple[S3Store, str]:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        endpoint = os.environ["FLYTE_AWS_ENDPOINT"]
        store = S3Store(
            bucket,
            endpoint=endpoint,
            region=os.environ.get("AWS_REGION", "us-east-1"),
            access_key_id=os.environ["FLYTE_AWS_ACCESS_KEY_ID"],
            secret_access_key=os.environ["FLYTE_AWS_SECRET_ACCESS_KEY"],
            virtual_hosted_style_request=False,
            client_options={"allow_http": endpoint.startswith("http://")},
        )
        return store, key


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
