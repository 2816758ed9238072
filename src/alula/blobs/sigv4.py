"""AWS Signature Version 4, as S3 uses it: signing URLs, and verifying signed requests. Pure.

The rules: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html
"""

import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from urllib.parse import parse_qsl, quote, unquote_to_bytes, urlsplit

from alula.core.errors import Denied, Invalid

ALGORITHM = "AWS4-HMAC-SHA256"
MAX_EXPIRES = 604_800  # seconds: a week, S3's limit
SKEW = timedelta(minutes=15)  # S3's tolerance for the clock of a client
UNSIGNED = "UNSIGNED-PAYLOAD"
_TIME = "%Y%m%dT%H%M%SZ"
_MOMENT = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_FREE = {"x-amz-content-sha256"}  # says what is signed; nothing follows from it when it is itself not signed
_SCOPE = re.compile(r"[0-9]{8}/[a-zA-Z0-9-]{1,32}/s3/aws4_request")
_AUTHORIZATION = re.compile(
    ALGORITHM + r"\s+Credential=([^,\s]+)\s*,\s*SignedHeaders=([^,\s]+)\s*,\s*Signature=([0-9a-f]{64})"
)


@dataclass(frozen=True, slots=True)
class Credentials:
    """A key pair of the embedded store."""

    key_id: str
    secret: str = field(repr=False)
    region: str = "us-east-1"


class Refused(Denied):
    """The request is not signed as it must be. ``code`` is S3's word for it; said as 403."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Request:
    """What of a request is signed."""

    method: str
    path: str  # as sent, still percent-encoded
    query: Sequence[tuple[str, str]]  # decoded, in any order
    headers: Mapping[str, str]  # lower-case names; repeated ones joined by ","


@dataclass(frozen=True, slots=True)
class Verified:
    """A request that was signed by someone who knows the secret, and what is needed to check its body."""

    payload: str  # the SHA-256 of the body in hex, UNSIGNED-PAYLOAD, or STREAMING-...
    signature: str
    time: str
    scope: str
    key: bytes = field(repr=False)

    def sign_chunk(self, previous: str, digest: str) -> str:
        """The signature of the next chunk of a STREAMING- body, whose data have this SHA-256."""
        empty = sha256(b"").hexdigest()
        return self._sign("PAYLOAD", previous, empty, digest)

    def sign_trailer(self, previous: str, digest: str) -> str:
        """The signature of the trailer of a STREAMING- body."""
        return self._sign("TRAILER", previous, digest)

    def _sign(self, what: str, *parts: str) -> str:
        return _hmac(self.key, "\n".join((f"{ALGORITHM}-{what}", self.time, self.scope, *parts))).hex()


def object_url(base_url: str, bucket: str, key: str) -> str:
    """The path-style URL of an object on the server at ``base_url`` (``http://host:port``)."""
    return f"{base_url.rstrip('/')}/{bucket}/{_quote(key, '/')}"


def presign(
    method: str,
    url: str,
    credentials: Credentials,
    *,
    expires: int,
    now: datetime,
    headers: Mapping[str, str] | None = None,
) -> str:
    """A URL that does ``method`` for whoever has it, for ``expires`` seconds from ``now`` (1 to `MAX_EXPIRES`).

    ``url`` may have a query (``response-content-type=...``). The headers are signed too: they must be sent exactly so.
    """
    if not 1 <= expires <= MAX_EXPIRES:
        raise Invalid(f"expires: must be 1 to {MAX_EXPIRES} seconds, is {expires}")
    parts = urlsplit(url)
    signed = {"host": parts.netloc} | {name.lower(): value for name, value in (headers or {}).items()}
    time = now.astimezone(UTC).strftime(_TIME)
    scope = f"{time[:8]}/{credentials.region}/s3/aws4_request"
    query = [
        *parse_qsl(parts.query, keep_blank_values=True),
        ("X-Amz-Algorithm", ALGORITHM),
        ("X-Amz-Credential", f"{credentials.key_id}/{scope}"),
        ("X-Amz-Date", time),
        ("X-Amz-Expires", str(expires)),
        ("X-Amz-SignedHeaders", ";".join(sorted(signed))),
    ]
    told = canonical(Request(method, parts.path, query, signed), sorted(signed), UNSIGNED)
    signature = _signature(_signing_key(credentials.secret, scope), time, scope, told)
    return f"{url.partition('?')[0]}?{canonical_query(query)}&X-Amz-Signature={signature}"


def verify(request: Request, credentials: Credentials, now: datetime) -> Verified:
    """Check who signed the request, and when.

    Raises:
        Refused: it was not signed with these credentials, or not for now.
        Invalid: what should be a signature is not one.
    """
    query = dict(request.query)
    if "authorization" in request.headers:
        claim = _header_claim(request.headers)
    elif "X-Amz-Signature" in query:
        claim = _query_claim(query)
    else:
        raise Refused("AccessDenied", "the request is not signed: use a presigned URL, or the keys of this server")
    _check_time(claim, now)
    key_id, _, scope = claim.credential.partition("/")
    if not hmac.compare_digest(key_id.encode(), credentials.key_id.encode()):
        raise Refused("InvalidAccessKeyId", "this access key id is not known to this server")
    if not _SCOPE.fullmatch(scope) or not scope.startswith(claim.time[:8]):
        raise Invalid("the credential must be <key id>/<day of the request>/<region>/s3/aws4_request")
    unsigned = {name for name in request.headers if name.startswith("x-amz-")} - set(claim.signed) - _FREE
    if unsigned or "host" not in claim.signed:
        raise Refused("AccessDenied", f"these headers must be signed: {', '.join(sorted(unsigned)) or 'host'}")
    key = _signing_key(credentials.secret, scope)
    expected = _signature(key, claim.time, scope, canonical(request, claim.signed, claim.payload))
    if not hmac.compare_digest(expected.encode(), claim.signature.encode()):
        raise Refused("SignatureDoesNotMatch", "the signature does not fit the request: check the secret access key")
    payload = request.headers.get("x-amz-content-sha256", UNSIGNED)
    return Verified(payload=payload, signature=claim.signature, time=claim.time, scope=scope, key=key)


@dataclass(frozen=True, slots=True)
class _Claim:
    """What a request says of its own signature."""

    credential: str
    signed: Sequence[str]
    signature: str
    time: str
    payload: str
    expires: int | None = None  # seconds; None: the request is for now


def _header_claim(headers: Mapping[str, str]) -> _Claim:
    found = _AUTHORIZATION.fullmatch(headers["authorization"].strip())
    if found is None:
        raise Invalid(f"authorization: must be {ALGORITHM} Credential=..., SignedHeaders=..., Signature=...")
    for needed in ("x-amz-date", "x-amz-content-sha256"):
        if needed not in headers:
            raise Invalid(f"{needed}: this header is needed in a signed request")
    credential, signed, signature = found.groups()
    return _Claim(credential, signed.split(";"), signature, headers["x-amz-date"], headers["x-amz-content-sha256"])


def _query_claim(query: Mapping[str, str]) -> _Claim:
    expires = query.get("X-Amz-Expires", "")
    if query.get("X-Amz-Algorithm") != ALGORITHM:
        raise Invalid(f"X-Amz-Algorithm: must be {ALGORITHM}")
    if not re.fullmatch("[0-9]{1,6}", expires) or not 1 <= int(expires) <= MAX_EXPIRES:
        raise Invalid(f"X-Amz-Expires: must be 1 to {MAX_EXPIRES} seconds")
    return _Claim(
        credential=query.get("X-Amz-Credential", ""),
        signed=query.get("X-Amz-SignedHeaders", "").split(";"),
        signature=query["X-Amz-Signature"],
        time=query.get("X-Amz-Date", ""),
        payload=query.get("X-Amz-Content-Sha256", UNSIGNED),
        expires=int(expires),
    )


def _check_time(claim: _Claim, now: datetime) -> None:
    try:  # fromisoformat costs a fraction of what strptime does, with every request, but reads more than this form
        then = datetime.fromisoformat(claim.time if _MOMENT.fullmatch(claim.time) else "")
    except ValueError:
        raise Invalid("x-amz-date: must look like 20260131T235959Z") from None
    if claim.expires is None and abs(now - then) > SKEW:
        raise Refused(
            "RequestTimeTooSkewed", f"the clock of the client and of the server ({now:%FT%TZ}) differ too much"
        )
    if claim.expires is not None and not then - SKEW <= now <= then + timedelta(seconds=claim.expires):
        raise Refused("AccessDenied", "Request has expired: ask for a new URL")


def canonical(request: Request, signed: Sequence[str], payload: str) -> bytes:
    """What of a request is signed, in the form that is signed. `Invalid` for headers that cannot be."""
    lines = [
        request.method,
        _quote(unquote_to_bytes(request.path), "/"),
        canonical_query(request.query),
        *(f"{name}:{' '.join(request.headers.get(name, '').split())}" for name in signed),
        "",
        ";".join(signed),
        payload,
    ]
    try:
        return "\n".join(lines).encode("latin-1")  # as headers came over the wire
    except UnicodeEncodeError:
        raise Invalid("headers can hold Latin letters only: percent-encode the others") from None


def canonical_query(query: Sequence[tuple[str, str]]) -> str:
    """The query in that form, which is also one that can be sent; without the signature."""
    pairs = sorted((_quote(name), _quote(value)) for name, value in query if name != "X-Amz-Signature")
    return "&".join(f"{name}={value}" for name, value in pairs)


def _quote(text: str | bytes, safe: str = "") -> str:
    return quote(text, safe=safe + "-_.~")


def _signature(key: bytes, time: str, scope: str, canonical: bytes) -> str:
    return _hmac(key, "\n".join((ALGORITHM, time, scope, sha256(canonical).hexdigest()))).hex()


@lru_cache(maxsize=16)
def _signing_key(secret: str, scope: str) -> bytes:
    key = ("AWS4" + secret).encode()
    for part in scope.split("/"):
        key = _hmac(key, part)
    return key


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")
