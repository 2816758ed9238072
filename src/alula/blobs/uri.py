"""Addresses of objects: ``s3://<bucket>/<key>``. Pure.

A key is literal: a space, ``%``, ``+``, ``?``, ``#`` or a letter of any alphabet is a character like any other, and
nothing is ever percent-decoded here. What is refused could not be kept safely as a file, or would differ between
clients (``a//b``, ``a/../b``). A key may end in one slash: some clients write such an empty object to mark a folder.
"""

import re

from alula.core.errors import Invalid

KEY_BYTES = 1024  # S3's limit
SEGMENT_BYTES = 250  # a file name holds 255
_SCHEME = "s3://"
_UNSAFE = re.compile(r"(?:^|/)(?:\.\.?(?:/|$)|/)|[\x00-\x1f\x7f\ufffe\uffff]")
_BUCKET = re.compile(r"[a-z0-9](?:[a-z0-9.-]{1,61})[a-z0-9]")


def check_bucket(bucket: str) -> str:
    """The bucket's name, if S3 would take it (3 to 63 of ``a-z0-9.-``), else `Invalid`."""
    if not _BUCKET.fullmatch(bucket) or ".." in bucket:
        raise Invalid(f"bucket {bucket!r}: use 3 to 63 lower-case letters, digits, dots and hyphens")
    return bucket


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


def parse(uri: str, bucket: str) -> str:
    """The key of an object in ``bucket``. `Invalid` for another scheme, another bucket or a bad key."""
    return check_key(parse_prefix(uri, bucket))


def parse_prefix(uri: str, bucket: str) -> str:
    """What the keys of a listing start with: any text, also none. `Invalid` for another scheme or bucket."""
    named, _, key = uri.removeprefix(_SCHEME).partition("/")
    if not uri.startswith(_SCHEME) or named != bucket:
        raise Invalid(f"URI {_short(uri)} is not in the object store of this server: it must start with s3://{bucket}/")
    return key


def join(base: str, *names: str) -> str:
    """``base`` and names below it, as a URI; a name may hold slashes. `Invalid` if the result is no object's URI."""
    uri = "/".join((base.removesuffix("/"), *names))
    if not uri.startswith(_SCHEME):
        raise Invalid(f"URI {_short(uri)} must start with s3://")
    check_key(uri.removeprefix(_SCHEME).partition("/")[2])
    return uri


def _bytes(text: str) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise Invalid(f"key {_short(text)} is not valid Unicode text") from None


def _short(text: str) -> str:
    return repr(text if len(text) <= 120 else text[:117] + "...")
