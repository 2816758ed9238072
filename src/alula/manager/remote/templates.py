"""Templates that are too large for their TaskActions: read from the object store, and checked to be what was put."""

import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from alula.core.errors import Exhausted, Invalid, NotFound
from alula.manager.plugins.base import Store

LARGEST = 10 * 1024 * 1024  # bytes of a template; what the SDK takes of inputs, and more than a cluster takes of a pod
_KEPT = 64  # templates that are remembered

Fetch = Callable[[str, str], Awaitable[bytes]]  # a template by its URI and its digest


class Fetched:
    """Templates by reference. ``store`` is the one that the control plane has put them into."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: OrderedDict[tuple[str, str], bytes] = OrderedDict()

    async def __call__(self, uri: str, digest: str) -> bytes:
        """A template. ``digest`` is its SHA-256 in hexadecimal digits; "" if nobody has said it.

        Raises:
            Invalid: it is not there, or not what was put there.
            Unavailable: the store does not answer.
        """
        if (uri, digest) not in self._kept:
            self._kept[uri, digest] = await self._read(uri, digest)
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return self._kept[uri, digest]

    async def _read(self, uri: str, digest: str) -> bytes:
        try:
            body = await self._store.get(uri, limit=LARGEST)
        except (NotFound, Exhausted) as error:
            raise Invalid(f"its template is to be at {uri}: {error}") from error
        if digest and hashlib.sha256(body).hexdigest() != digest:
            raise Invalid(f"what is at {uri} is not the template that was put there: its digest is another")
        return body


class NoStore:
    """The store of a Manager that was told of none."""

    async def get(self, uri: str, *, limit: int = LARGEST) -> bytes:
        """See `Store.get`."""
        raise _missing(uri)

    async def put(self, uri: str, data: bytes) -> None:
        """See `Store.put`."""
        raise _missing(uri)


def _missing(uri: str) -> Invalid:
    return Invalid(f"{uri} cannot be reached: this Manager was not told of an object store (manager.objects)")
