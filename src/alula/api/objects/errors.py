"""What the door says when it refuses: S3's codes, and their HTTP status. Real clients act on them."""

from collections.abc import Mapping

from alula.blobs.sigv4 import Refused
from alula.core.errors import Conflict, DomainError, Exhausted, Invalid, NotFound, Unavailable

STATUS = {
    "AccessDenied": 403,
    "BadDigest": 400,
    "EntityTooLarge": 400,
    "IncompleteBody": 400,
    "InsufficientStorage": 507,
    "InternalError": 500,
    "InvalidAccessKeyId": 403,
    "InvalidArgument": 400,
    "InvalidDigest": 400,
    "InvalidPart": 400,
    "InvalidRange": 416,
    "InvalidURI": 400,
    "MalformedXML": 400,
    "MetadataTooLarge": 400,
    "MethodNotAllowed": 405,
    "NoSuchBucket": 404,
    "NoSuchKey": 404,
    "NoSuchUpload": 404,
    "NotImplemented": 501,
    "PreconditionFailed": 412,
    "RequestTimeTooSkewed": 403,
    "ServiceUnavailable": 503,
    "SignatureDoesNotMatch": 403,
    "XAmzContentSHA256Mismatch": 400,
}
_CODES: dict[type[DomainError], str] = {
    NotFound: "NoSuchKey",
    Conflict: "PreconditionFailed",
    Invalid: "InvalidArgument",
    Exhausted: "InsufficientStorage",
    Unavailable: "ServiceUnavailable",
}


class S3Error(Exception):
    """A refusal in S3's words. ``code`` is a key of `STATUS`."""

    def __init__(self, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.headers = headers or {}


def code_of(error: Exception) -> str:
    """S3's word for an error; InternalError for one that no caller is meant to see."""
    if isinstance(error, S3Error | Refused):
        return error.code
    return next((code for kind, code in _CODES.items() if isinstance(error, kind)), "InternalError")
