"""Objects in a bucket of S3, Google Cloud Storage or Azure, over obstore.

Only obstore's synchronous calls are used, in threads: its asynchronous ones can abort an interpreter that exits
(pyo3-async-runtimes#40). It does not survive a fork.
"""

import contextlib
import hashlib
from collections.abc import Iterator
from typing import Any

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import ObjectStore

from alula.blobs.record import Meta
from alula.core.errors import Exhausted, NotFound, Unavailable

_CHUNK = 4 * 1024 * 1024


class Cloud:
    """The objects of one bucket, by key."""

    near = 0  # everything is a request over the network

    def __init__(self, store: ObjectStore) -> None:
        """``store``: of the bucket, without a prefix."""
        self._store = store

    def read(self, key: str, limit: int) -> bytes:
        """The whole object. `NotFound`; `Exhausted` if it has more than ``limit`` bytes."""
        with _store_errors(key):
            found = obstore.get(self._store, key)
            size = found.meta["size"]
            if size > limit:
                raise Exhausted(f"object {key} has {size} bytes, more than the {limit} taken here")
            return bytes(found.bytes())

    def write(self, key: str, data: bytes) -> None:
        """Put a whole object, in one step."""
        try:
            with _store_errors(key):
                obstore.put(self._store, key, data)
        except NotFound:
            raise Unavailable(f"the object store has no such bucket: {key} cannot be put") from None

    def stat(self, key: str) -> Meta | None:
        """What is known of an object; ``None`` if there is none."""
        try:
            with _store_errors(key):
                return _meta(obstore.head(self._store, key))
        except NotFound:
            return None

    def md5(self, key: str) -> str:
        """The MD5 of an object's data, in hex. They are read: an etag may be anything. `NotFound`."""
        digest = hashlib.md5(usedforsecurity=False)
        with _store_errors(key):
            for chunk in obstore.get(self._store, key).stream(_CHUNK):
                digest.update(chunk)
        return digest.hexdigest()

    def delete(self, key: str) -> None:
        """Remove an object, if there is one."""
        with contextlib.suppress(NotFound), _store_errors(key):
            obstore.delete(self._store, key)

    def list(self, prefix: str) -> Iterator[tuple[str, Meta]]:
        """Every object whose key starts so, in order."""
        folder = prefix.rpartition("/")[0]  # obstore's prefixes are whole segments
        with _store_errors(prefix):
            for page in obstore.list(self._store, folder or None):
                for found in page:
                    if found["path"].startswith(prefix):
                        yield found["path"], _meta(found)


def _meta(found: Any) -> Meta:
    return Meta(size=found["size"], modified=found["last_modified"], etag=(found["e_tag"] or "").strip('"'))


@contextlib.contextmanager
def _store_errors(key: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise NotFound(f"there is no object {key}") from None
    except (PermissionDeniedError, UnauthenticatedError):  # its words hold the request, and so the key's id
        raise Unavailable(f"the object store refuses this server: check its keys, and its rights to {key}") from None
    except BaseError as error:
        reason = str(error).partition("\n")[0]  # what follows is for the developers of obstore
        raise Unavailable(f"the object store cannot be used: {reason}") from error
