"""Answers that are no success: `metav1.Status`."""

from alula.kube.objects import Object

_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    409: "Conflict",
    410: "Expired",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


class Refusal(Exception):
    """An answer that is no success. ``after``: seconds that the client is to wait."""

    def __init__(self, code: int, message: str, reason: str = "", after: int | None = None) -> None:
        super().__init__(message)
        self.code, self.reason, self.after = code, reason or _REASONS[code], after

    def status(self) -> Object:
        """As it is on the wire."""
        told = {"status": "Failure", "message": str(self), "reason": self.reason, "code": self.code}
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, **told}


def invalid(kind: str, name: str, field: str, problem: str) -> Refusal:
    """422, in the words of a cluster."""
    return Refusal(422, f'{kind} "{name}" is invalid: {field}: {problem}')
