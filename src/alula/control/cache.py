"""Cached results: one of many who ask the same works it out, the others wait and take it."""

import asyncio
import logging
from dataclasses import dataclass
from datetime import timedelta

from alula.base.clock import Clock
from alula.blobs.store import Blobs
from alula.core.cache import FOR_EVER, HEARTBEAT, CacheKey, Entry, Offer, Reservation, check_key, is_good
from alula.core.errors import DomainError, Invalid, NotFound
from alula.storage import cache as store
from alula.storage.database import Database, Tx

_log = logging.getLogger(__name__)
LITERALS_LIMIT = 2 * 1024 * 1024  # bytes; what is larger belongs into the object store
_SOME = 200  # rows pruned in one transaction


@dataclass(frozen=True, slots=True)
class Cache:
    """The verbs of the cache."""

    database: Database
    blobs: Blobs
    clock: Clock

    async def get(self, key: CacheKey) -> Entry:
        """A result.

        Raises:
            NotFound: there is none, or its time is over.
        """
        check_key(key)
        found = await self.database.read(lambda tx: store.find(tx, key))
        if found is None or not is_good(found, self.clock()):
            raise NotFound("key: nothing is cached under it")
        return found

    async def lookup(self, key: CacheKey, max_age: timedelta = FOR_EVER) -> Entry | None:
        """The result that an action can take over: it is good still, and its outputs can be read here."""
        found = await self.database.read(lambda tx: store.lookup(tx, key, self.clock(), max_age))
        if found is None or not found.uri:
            return None
        try:
            return found if await self.blobs.exists(f"{found.uri}/outputs.pb") else None
        except Invalid:
            return None  # it lies elsewhere

    async def put(self, key: CacheKey, offer: Offer, *, delete_blob: bool = False) -> None:
        """Keep a result. With ``delete_blob``, the outputs of the one that it replaces are removed.

        Raises:
            Invalid: it has neither literals nor a URI, or too large literals.
            AlreadyExists: there is one that is still good, and the offer is not to overwrite it.
        """
        check_key(key)
        if not offer.uri and offer.literals is None:
            raise Invalid("output: give output_literals or an output_uri")
        if len(offer.literals or b"") > LITERALS_LIMIT:
            raise Invalid(f"output.output_literals: more than {LITERALS_LIMIT} bytes; store them, give an output_uri")

        async def write(tx: Tx) -> Entry | None:
            return await store.put(tx, key, offer, self.clock())

        replaced = await self.database.write(write)
        if delete_blob and replaced is not None and replaced.uri not in ("", offer.uri):
            await self._delete_outputs(replaced.uri)

    async def _delete_outputs(self, uri: str) -> None:
        """A result is an object, or the folder of an attempt's outputs. No more than that is ever removed."""
        for one in (uri, f"{uri}/outputs.pb"):
            try:
                await self.blobs.delete(one)
            except DomainError as refusal:
                _log.warning("the replaced outputs at %s are left where they are: %s", one, refusal)

    async def delete(self, key: CacheKey) -> None:
        """Forget a result; its outputs stay.

        Raises:
            NotFound: there is none.
        """
        check_key(key)
        if not await self.database.write(lambda tx: store.remove(tx, key)):
            raise NotFound("key: nothing is cached under it")

    async def reserve(self, key: CacheKey, owner: str, heartbeat: timedelta = HEARTBEAT) -> Reservation:
        """Reserve the right to work a result out, or say again that one is alive; whose reservation holds now."""
        check_key(key)
        if not owner:
            raise Invalid("owner_id: must not be empty")
        return await self.database.write(lambda tx: store.reserve(tx, key, owner, heartbeat, self.clock()))

    async def release(self, key: CacheKey, owner: str) -> None:
        """Give a reservation up. Fine if it is another's, or nobody's."""
        check_key(key)
        await self.database.write(lambda tx: store.release(tx, key, owner))

    async def prune(self) -> int:
        """Forget what has expired, in small steps, with turns for others in between; how much."""
        gone = 0
        while some := await self.database.write(lambda tx: store.prune(tx, self.clock(), _SOME)):
            gone += some
            await asyncio.sleep(0)
        return gone
