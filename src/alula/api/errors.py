"""The one table from words of the domain to codes of the wire."""

from google.rpc import status_pb2

from alula.core import errors
from alula.rpc.errors import Code, RpcError

_CODES: dict[type[errors.DomainError], Code] = {
    errors.Invalid: Code.INVALID_ARGUMENT,
    errors.NotFound: Code.NOT_FOUND,
    errors.AlreadyExists: Code.ALREADY_EXISTS,
    errors.Conflict: Code.FAILED_PRECONDITION,
    errors.Aborted: Code.ABORTED,
    errors.Exhausted: Code.RESOURCE_EXHAUSTED,
    errors.Unavailable: Code.UNAVAILABLE,
    errors.Unsupported: Code.UNIMPLEMENTED,
    errors.Denied: Code.PERMISSION_DENIED,
    errors.Stale: Code.UNAVAILABLE,
    errors.LaunchRefused: Code.FAILED_PRECONDITION,
}


def translate(error: Exception) -> RpcError | None:
    """How an error is said on the wire; ``None`` for one that is a fault of this server."""
    if isinstance(error, RpcError):
        return error
    code = _CODES.get(type(error))  # type: ignore[arg-type]
    return None if code is None else RpcError(code, str(error))


def status(error: errors.DomainError | None = None) -> status_pb2.Status:
    """How an outcome is said inside a response, where a protocol wants it there."""
    if error is None:
        return status_pb2.Status()
    return status_pb2.Status(code=_CODES[type(error)].number, message=str(error))
