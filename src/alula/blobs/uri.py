"""Addresses of objects: ``<bucket>/<key>``; a bucket is ``s3://name``, ``gs://name`` or ``abfs://container``. Pure.

A key is literal: a space, ``%``, ``+``, ``?``, ``#`` or a letter of any alphabet is a character like any other, and
nothing is ever percent-decoded here. What is refused could not be kept safely as a file, or would differ between
clients (``a//b``, ``a/../b``). A key may end in one slash: some clients write such an empty object to mark a folder.
"""

import re
from collections.abc import Sequence

from alula.core.errors import Invalid

KEY_BYTES = 1024  # S3's limit, and that of the others
SEGMENT_BYTES = 250  # a file name holds 255
_UNSAFE = re.compile(r"(?:^|/)(?:\.\.?(?:/|$)|/)|[\x00-\x1f\x7f\ufffe\uffff]")
_S3 = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_NAMES = {  # what the SDK takes, and what its provider does
    "s3": (_S3, "3 to 63 lower-case letters, digits, dots and hyphens"),
    "gs": (re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]"), "3 to 63 lower-case letters, digits and ._-"),
    "abfs": (re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]"), "3 to 63 lower-case letters, digits and hyphens"),
}


def check_bucket(bucket: str) -> str:
    """The URI of a bucket, if its provider would take the name, else `Invalid`. A bare name is one of S3."""
    scheme, found, name = bucket.partition("://")
    if not found:
        scheme, name = "s3", bucket
    if scheme not in _NAMES:
        raise Invalid(f"bucket {_short(bucket)}: say s3://NAME, gs://NAME or abfs://CONTAINER")
    pattern, words = _NAMES[scheme]
    if not pattern.fullmatch(name) or ".." in name:
        raise Invalid(f"bucket {name!r}: use {words}")
    return f"{scheme}://{name}"


def check_key(key: str) -> str:
    """The key, if it can be the key of an object, else `Invalid`."""
    if not key:
        raise Invalid("the key is empty: name an object as s3://<bucket>/<key>")
    if _UNSAFE.search(key):
        raise Invalid(
            f"key {_short(key)}: it must not start with '/' or hold '//', a '.' or '..' segment, or control characters"
        )
    if _bytes(key) > KEY_BYTES or (len(key) > SEGMENT_BYTES / 4 and max(map(_bytes, key.split("/"))) > SEGMENT_BYTES):
        raise Invalid(
            f"key {_short(key)} is too long: at most {KEY_BYTES} bytes of UTF-8, and {SEGMENT_BYTES} between slashes"
        )
    return key


def parse(uri: str, buckets: Sequence[str]) -> tuple[str, str]:
    """The bucket and the key of an object in one of these. `Invalid` for any other bucket or a bad key."""
    bucket, key = parse_prefix(uri, buckets)
    return bucket, check_key(key)


def parse_prefix(uri: str, buckets: Sequence[str]) -> tuple[str, str]:
    """A bucket, and what the keys of a listing start with: any text, also none. `Invalid` for any other bucket."""
    for bucket in buckets:
        if uri.startswith(bucket) and uri[len(bucket) : len(bucket) + 1] in ("/", ""):
            return bucket, uri[len(bucket) + 1 :]
    allowed = " or ".join(f"{bucket}/" for bucket in buckets)
    raise Invalid(f"URI {_short(uri)} is not in the object store of this server: it must start with {allowed}")


def join(base: str, *names: str) -> str:
    """``base`` and names below it, as a URI; a name may hold slashes. `Invalid` if the result is no object's URI."""
    uri = "/".join((base.removesuffix("/"), *names))
    scheme, found, rest = uri.partition("://")
    if not found or scheme not in _NAMES:
        raise Invalid(f"URI {_short(uri)} must start with s3://, gs:// or abfs://")
    check_key(rest.partition("/")[2])
    return uri


def _bytes(text: str) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise Invalid(f"key {_short(text)} is not valid Unicode text") from None


def _short(text: str) -> str:
    return repr(text if len(text) <= 120 else text[:117] + "...")
