"""What an RPC can answer besides a response: the sixteen codes that Connect and gRPC share."""

from collections.abc import Sequence
from enum import Enum

from google.protobuf.message import Message


class Code(Enum):
    """A code: its number in gRPC, its name in Connect, and the HTTP status of a Connect unary error.

    Source: https://connectrpc.com/docs/protocol#error-codes and
    https://grpc.github.io/grpc/core/md_doc_statuscodes.html
    """

    CANCELED = (1, "canceled", 499)
    UNKNOWN = (2, "unknown", 500)
    INVALID_ARGUMENT = (3, "invalid_argument", 400)
    DEADLINE_EXCEEDED = (4, "deadline_exceeded", 504)
    NOT_FOUND = (5, "not_found", 404)
    ALREADY_EXISTS = (6, "already_exists", 409)
    PERMISSION_DENIED = (7, "permission_denied", 403)
    RESOURCE_EXHAUSTED = (8, "resource_exhausted", 429)
    FAILED_PRECONDITION = (9, "failed_precondition", 400)
    ABORTED = (10, "aborted", 409)
    OUT_OF_RANGE = (11, "out_of_range", 400)
    UNIMPLEMENTED = (12, "unimplemented", 501)
    INTERNAL = (13, "internal", 500)
    UNAVAILABLE = (14, "unavailable", 503)
    DATA_LOSS = (15, "data_loss", 500)
    UNAUTHENTICATED = (16, "unauthenticated", 401)

    def __init__(self, number: int, label: str, http: int) -> None:
        self.number = number
        self.label = label
        self.http = http


class RpcError(Exception):
    """The answer of a call that failed. Message and details go to the client as they are.

    ``details`` are messages of any type; a ``google.protobuf.Any`` is sent as it is, every other is packed into one.
    Clients may retry UNAVAILABLE: use it only where nothing happened, or to end a stream.
    """

    def __init__(self, code: Code, message: str, details: Sequence[Message] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = tuple(details)
