"""Google's V4 signatures, as Cloud Storage uses them: signing URLs with the key of a service account. Pure.

The rules: https://cloud.google.com/storage/docs/authentication/canonical-requests. They are those of AWS but for their
names, and for the RSA key instead of a secret.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from alula.blobs.sigv4 import UNSIGNED, Request, canonical, canonical_query
from alula.core.errors import Invalid

_ALGORITHM = "GOOG4-RSA-SHA256"


def presign(
    method: str, url: str, account: str, *, expires: int, now: datetime, headers: Mapping[str, str] | None = None
) -> str:
    """A URL that does ``method`` for whoever has it, for ``expires`` seconds from ``now``.

    ``account`` is the JSON key of a service account. The headers are signed too: they must be sent exactly so.

    Raises:
        Invalid: that is no such key.
    """
    email, key = _opened(account)
    parts = urlsplit(url)
    signed = {"host": parts.netloc} | {name.lower(): value for name, value in (headers or {}).items()}
    time = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{time[:8]}/auto/storage/goog4_request"
    query = [
        ("X-Goog-Algorithm", _ALGORITHM),
        ("X-Goog-Credential", f"{email}/{scope}"),
        ("X-Goog-Date", time),
        ("X-Goog-Expires", str(expires)),
        ("X-Goog-SignedHeaders", ";".join(sorted(signed))),
    ]
    digest = sha256(canonical(Request(method, parts.path, query, signed), sorted(signed), UNSIGNED)).hexdigest()
    told = "\n".join((_ALGORITHM, time, scope, digest))
    signature = key.sign(told.encode(), padding.PKCS1v15(), hashes.SHA256()).hex()
    return f"{url}?{canonical_query(query)}&X-Goog-Signature={signature}"


@lru_cache(maxsize=4)
def _opened(account: str) -> tuple[str, rsa.RSAPrivateKey]:
    try:
        told = json.loads(account)
        key = load_pem_private_key(told["private_key"].encode(), None)
        email = str(told["client_email"])
    except (ValueError, TypeError, KeyError, AttributeError):
        raise Invalid("the secret of the object store is no JSON key of a Google service account") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise Invalid("the key of the Google service account is no RSA key")
    return email, key
