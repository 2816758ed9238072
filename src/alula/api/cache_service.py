"""`flyteidl2.cacheservice.CacheService`, and `flyteidl2.cacheservice.v2.CacheService`, whose keys have a project."""

from flyteidl2.cacheservice import cacheservice_pb2 as pb
from flyteidl2.cacheservice.v2 import cacheservice_pb2 as v2

from alula.control.cache import Cache
from alula.core.cache import CacheKey
from alula.rpc.service import Context
from alula.wire import cache as wire


class CacheService:
    """The first version: a key is all there is. Its results are none of the second version's."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    async def get(self, request: pb.GetCacheRequest, context: Context) -> pb.GetCacheResponse:
        """Return a kept result by its key, unless it has expired."""
        return await _get(self._cache, CacheKey.unscoped(request.key))

    async def put(self, request: pb.PutCacheRequest, context: Context) -> pb.PutCacheResponse:
        """Keep a result; ALREADY_EXISTS if there is a good one that is not to be replaced."""
        return await _put(self._cache, CacheKey.unscoped(request.key), request)

    async def delete(self, request: pb.DeleteCacheRequest, context: Context) -> pb.DeleteCacheResponse:
        """Forget a result; its outputs stay."""
        return await _delete(self._cache, CacheKey.unscoped(request.key))

    async def get_or_extend_reservation(
        self, request: pb.GetOrExtendReservationRequest, context: Context
    ) -> pb.GetOrExtendReservationResponse:
        """Reserve the work on a key, or say that one is alive; whose reservation holds."""
        return await _reserve(self._cache, CacheKey.unscoped(request.key), request)

    async def release_reservation(
        self, request: pb.ReleaseReservationRequest, context: Context
    ) -> pb.ReleaseReservationResponse:
        """Give up a reservation; fine if it is another's, or nobody's."""
        return await _release(self._cache, CacheKey.unscoped(request.key), request)


class ScopedCacheService:
    """The second version: a key belongs to a project and domain. What actions leave in the cache is found here."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    async def get(self, request: v2.GetCacheRequest, context: Context) -> pb.GetCacheResponse:
        """Return a kept result of a project and domain, unless it has expired."""
        return await _get(self._cache, wire.scoped(request.identifier, request.base_request.key))

    async def put(self, request: v2.PutCacheRequest, context: Context) -> pb.PutCacheResponse:
        """Keep a result; of two at once, one is refused with ALREADY_EXISTS."""
        base = request.base_request
        return await _put(self._cache, wire.scoped(request.identifier, base.key), base)

    async def delete(self, request: v2.DeleteCacheRequest, context: Context) -> pb.DeleteCacheResponse:
        """Forget a result; its outputs stay."""
        return await _delete(self._cache, wire.scoped(request.identifier, request.base_request.key))

    async def get_or_extend_reservation(
        self, request: v2.GetOrExtendReservationRequest, context: Context
    ) -> pb.GetOrExtendReservationResponse:
        """Reserve the work on a key, or say that one is alive; whose reservation holds."""
        base = request.base_request
        return await _reserve(self._cache, wire.scoped(request.identifier, base.key), base)

    async def release_reservation(
        self, request: v2.ReleaseReservationRequest, context: Context
    ) -> pb.ReleaseReservationResponse:
        """Give up a reservation; fine if it is another's, or nobody's."""
        base = request.base_request
        return await _release(self._cache, wire.scoped(request.identifier, base.key), base)


async def _get(cache: Cache, key: CacheKey) -> pb.GetCacheResponse:
    return pb.GetCacheResponse(output=wire.output_message(await cache.get(key)))


async def _put(cache: Cache, key: CacheKey, request: pb.PutCacheRequest) -> pb.PutCacheResponse:
    await cache.put(key, wire.offer(request), delete_blob=request.overwrite.delete_blob)
    return pb.PutCacheResponse()


async def _delete(cache: Cache, key: CacheKey) -> pb.DeleteCacheResponse:
    await cache.delete(key)
    return pb.DeleteCacheResponse()


async def _reserve(
    cache: Cache, key: CacheKey, request: pb.GetOrExtendReservationRequest
) -> pb.GetOrExtendReservationResponse:
    held = await cache.reserve(key, request.owner_id, wire.duration(request.heartbeat_interval))
    return pb.GetOrExtendReservationResponse(reservation=wire.reservation_message(held, key.key))


async def _release(cache: Cache, key: CacheKey, request: pb.ReleaseReservationRequest) -> pb.ReleaseReservationResponse:
    await cache.release(key, request.owner_id)
    return pb.ReleaseReservationResponse()
