"""How an error is written: the JSON of Connect, the trailers of gRPC. Pure functions."""

import json
from collections.abc import Mapping
from typing import Any as Json

from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from alula.rpc import metadata
from alula.rpc.asgi import Headers
from alula.rpc.errors import RpcError
from alula.rpc.schema import load

# google.rpc.Status. The details are declared as bytes, which is the same on the wire, so that Any need not be loaded.
_FILE = load("""
    name: "google/rpc/status.proto" package: "google.rpc" syntax: "proto3"
    message_type {
      name: "Status"
      field { name: "code" number: 1 type: TYPE_INT32 label: LABEL_OPTIONAL }
      field { name: "message" number: 2 type: TYPE_STRING label: LABEL_OPTIONAL }
      field { name: "details" number: 3 type: TYPE_BYTES label: LABEL_REPEATED }
    }
""")
_STATUS = GetMessageClass(_FILE.message_types_by_name["Status"])


def connect_json(error: RpcError) -> dict[str, Json]:
    """The error object of Connect: https://connectrpc.com/docs/protocol#error-end-stream"""
    body: dict[str, Json] = {"code": error.code.label, "message": error.message}
    if error.details:
        body["details"] = [
            {"type": detail.type_url.rpartition("/")[2], "value": metadata.encode_binary(detail.value)}
            for detail in map(_packed, error.details)
        ]
    return body


def connect_unary(error: RpcError) -> bytes:
    """The body of a Connect unary response that is an error."""
    return json.dumps(connect_json(error)).encode()


def connect_end(error: RpcError | None, trailers: Mapping[str, str]) -> bytes:
    """The message that ends a Connect stream. Raises ValueError for trailers that cannot be sent."""
    end: dict[str, Json] = {}
    if error:
        end["error"] = connect_json(error)
    if trailers:
        end["metadata"] = {name: [value] for name, value in metadata.checked(trailers)}
    return json.dumps(end).encode()


def grpc_trailers(error: RpcError | None, trailers: Mapping[str, str]) -> Headers:
    """The trailers of a gRPC response. Raises ValueError for trailers that cannot be sent."""
    own = metadata.write_headers(trailers)
    if error is None:
        return [(b"grpc-status", b"0"), *own]
    head = [(b"grpc-status", b"%d" % error.code.number), (b"grpc-message", _percent(error.message))]
    if error.details:
        details = [_packed(detail).SerializeToString() for detail in error.details]
        status = _STATUS(code=error.code.number, message=error.message, details=details)
        head.append((b"grpc-status-details-bin", metadata.encode_binary(status.SerializeToString()).encode()))
    return [*head, *own]


def _percent(message: str) -> bytes:
    return metadata.percent_encode(message).encode()


def _packed(detail: Message) -> Any:
    if isinstance(detail, Any):
        return detail
    packed = Any()
    packed.Pack(detail)
    return packed
