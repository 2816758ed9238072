"""URLs that carry their own permission, for one object, one method and some time.

With keys they are signed here: obstore (0.12.1) leaves headers, and so the MD5 of what may be put, out of what it
signs, and for Google and Azure it signs another object than is meant where a key needs percent-encoding. It signs for
who has no keys: by the identity that a provider gives.
"""

import base64
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urlsplit

from alula.blobs import goog4, sigv4
from alula.blobs.account import Account, store
from alula.core.errors import Invalid, Unavailable

if TYPE_CHECKING:
    from obstore.store import AzureStore, GCSStore, S3Store

_VERSION = "2022-11-02"  # of Azure's signatures
_RIGHTS = {"GET": "r", "PUT": "cw"}


def needed(uri: str) -> dict[str, str]:
    """The headers that a PUT to a signed URL of this object has to have, whatever is put."""
    return {"x-ms-blob-type": "BlockBlob"} if uri.startswith("abfs") else {}


def sign(
    method: str, at: tuple[str, str], account: Account, expires: timedelta, headers: Mapping[str, str], now: datetime
) -> str:
    """The URL; ``at`` is a bucket and a key. It may ask the provider, where there are no keys.

    The headers have to be sent; S3 and Google, with keys, refuse who sends others.

    Raises:
        Invalid: no URL of this object can be signed.
        Unavailable: there are no keys, and this process has no identity that may sign.
    """
    bucket, key = at
    scheme, _, name = bucket.partition("://")
    seconds = int(expires.total_seconds())
    match scheme:
        case "s3" if account.secret:
            keys = sigv4.Credentials(account.key_id, account.secret, account.region)
            url = sigv4.object_url(account.endpoint or f"https://s3.{account.region}.amazonaws.com", name, key)
            return sigv4.presign(method, url, keys, expires=seconds, now=now, headers=headers)
        case "gs" if account.secret:
            url = sigv4.object_url(account.endpoint or "https://storage.googleapis.com", name, key)
            return goog4.presign(method, url, account.secret, expires=seconds, now=now, headers=headers)
        case "abfs" if account.secret:
            return _azure(method, name, key, account, now + expires)
    if scheme != "s3" and quote(key) != key:
        raise Invalid(f"key {key!r}: without keys, URLs can be signed for names of letters, digits and _.-~/ alone")
    return _by_identity(method, bucket, key, account, expires)


def _by_identity(method: str, bucket: str, key: str, account: Account, expires: timedelta) -> str:
    import obstore
    from obstore.exceptions import BaseError

    try:
        return obstore.sign(_kept(bucket, account), "PUT" if method == "PUT" else "GET", key, expires)
    except BaseError as error:
        reason = str(error).partition("\n")[0]
        raise Unavailable(f"the object store gives this server no right to sign URLs: {reason}") from error


@lru_cache(maxsize=16)
def _kept(bucket: str, account: Account) -> "S3Store | GCSStore | AzureStore":
    """It keeps the token that it was given."""
    return store(bucket, account)


def _azure(method: str, container: str, key: str, account: Account, until: datetime) -> str:
    """A service SAS: https://learn.microsoft.com/rest/api/storageservices/create-service-sas."""
    base = account.endpoint or f"https://{account.name}.blob.core.windows.net"
    scheme, rights = urlsplit(base).scheme, _RIGHTS[method]
    expiry = until.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    resource = f"/blob/{account.name}/{container}/{key}"
    protocol = "https" if scheme == "https" else "https,http"
    lines = [rights, "", expiry, resource, "", "", protocol, _VERSION, "b", *[""] * 7]
    digest = hmac.digest(base64.b64decode(account.secret), "\n".join(lines).encode(), "sha256")
    query = {"sv": _VERSION, "sr": "b", "sp": rights, "se": expiry, "spr": protocol}
    query["sig"] = base64.b64encode(digest).decode()
    return f"{base.rstrip('/')}/{container}/{quote(key)}?{urlencode(query)}"
