"""The cache, on both databases. Case C33: hit, overwrite, the owner that died, concurrent puts, long keys, places."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from alula.blobs.store import Blobs
from alula.control.cache import LITERALS_LIMIT, Cache
from alula.core.cache import CacheKey, Entry, Offer
from alula.core.errors import AlreadyExists, Invalid, NotFound
from alula.storage import cache as store
from alula.storage.address import Address
from alula.storage.changes import Changes

from .world import Ticking

KEY = CacheKey("p", "development", "k")
HOUR = timedelta(hours=1)


@pytest.fixture
async def cache(address: Address, tmp_path: Path) -> AsyncIterator[Cache]:
    async with address.database(Changes()) as database:
        yield Cache(database, Blobs(tmp_path / "objects"), Ticking())


def wait(cache: Cache, time: timedelta) -> None:
    clock = cache.clock
    assert isinstance(clock, Ticking)
    clock.now += time


async def found(cache: Cache, key: CacheKey) -> Entry | None:
    try:
        return await cache.get(key)
    except NotFound:
        return None


async def test_put_get_delete(cache: Cache) -> None:
    assert await found(cache, KEY) is None
    await cache.put(KEY, Offer("s3://alula/o", metadata=b"\x0a\x00", source="p/development/r/a1/1"))
    one = await cache.get(KEY)
    assert (one.uri, one.literals, one.metadata, one.source) == (
        "s3://alula/o",
        None,
        b"\x0a\x00",
        "p/development/r/a1/1",
    )
    await cache.delete(KEY)
    assert await found(cache, KEY) is None
    with pytest.raises(NotFound):
        await cache.delete(KEY)


async def test_literals_are_kept_as_they_are(cache: Cache) -> None:
    await cache.put(KEY, Offer(literals=b"\x00\xff literal"))
    assert (await cache.get(KEY)).literals == b"\x00\xff literal"
    await cache.put(KEY, Offer(literals=b"", overwrite=True))
    assert (await cache.get(KEY)).literals == b""
    with pytest.raises(Invalid, match="output_uri"):
        await cache.put(KEY, Offer(literals=bytes(LITERALS_LIMIT + 1), overwrite=True))
    with pytest.raises(Invalid, match="output_literals or an output_uri"):
        await cache.put(KEY, Offer())


async def test_a_good_result_is_not_replaced_unless_asked_for(cache: Cache) -> None:
    await cache.put(KEY, Offer("s3://alula/1"))
    first = await cache.get(KEY)
    with pytest.raises(AlreadyExists, match="overwrite"):
        await cache.put(KEY, Offer("s3://alula/2"))
    assert await cache.get(KEY) == first
    await cache.put(KEY, Offer("s3://alula/2", overwrite=True))
    second = await cache.get(KEY)
    assert (second.uri, second.created_at) == ("s3://alula/2", first.created_at)
    assert second.updated_at > first.updated_at
    wait(cache, 2 * HOUR)
    await cache.put(KEY, Offer("s3://alula/3", max_age=HOUR))
    assert (await cache.get(KEY)).uri == "s3://alula/3"


async def test_a_result_whose_time_is_over_is_a_miss(cache: Cache) -> None:
    await cache.put(KEY, Offer("s3://alula/1", max_age=HOUR))
    assert await found(cache, KEY) is not None
    wait(cache, HOUR)
    assert await found(cache, KEY) is None
    await cache.put(KEY, Offer("s3://alula/2"))
    assert (await cache.get(KEY)).uri == "s3://alula/2"


async def test_of_concurrent_puts_one_is_taken(cache: Cache) -> None:
    offers = [cache.put(KEY, Offer(f"s3://alula/{n}")) for n in range(12)]
    outcomes = await asyncio.gather(*offers, return_exceptions=True)
    refused = [o for o in outcomes if isinstance(o, AlreadyExists)]
    assert len(refused) == 11
    assert (await cache.get(KEY)).uri == f"s3://alula/{outcomes.index(None)}"


async def test_places_do_not_mix(cache: Cache) -> None:
    places = [
        CacheKey("a-b", "c", "k"),
        CacheKey("a", "b-c", "k"),
        CacheKey("a", "b", "c-k"),
        CacheKey("a", "b-c-k", "k"),
        CacheKey.unscoped("k"),
        CacheKey.unscoped("a-b-c-k"),
    ]
    for n, place in enumerate(places):
        await cache.put(place, Offer(f"s3://alula/{n}"))
    assert [(await cache.get(place)).uri for place in places] == [f"s3://alula/{n}" for n in range(len(places))]


async def test_long_keys(cache: Cache) -> None:
    long, other = "k" * 8191 + "1", "k" * 8191 + "2"
    await cache.put(CacheKey("p", "d", long), Offer("s3://alula/1"))
    assert await found(cache, CacheKey("p", "d", other)) is None
    assert (await cache.reserve(CacheKey("p", "d", long), "me")).owner == "me"
    assert (await cache.reserve(CacheKey("p", "d", other), "you")).owner == "you"
    place = CacheKey("\U0001f40d" * 64, "\U0001f40d" * 64, long)
    await cache.put(place, Offer("s3://alula/2"))
    assert (await cache.get(place)).uri == "s3://alula/2"
    for verb in (cache.get, cache.delete):
        with pytest.raises(Invalid, match="8192"):
            await verb(CacheKey("p", "d", "k" * 8193))


async def test_a_replaced_result_is_removed_if_asked_for(cache: Cache) -> None:
    blobs = cache.blobs
    for name in ("one", "folder/outputs.pb", "folder/other", "two"):
        await blobs.put(f"s3://alula/{name}", b"x")
    await cache.put(KEY, Offer("s3://alula/one"))
    await cache.put(KEY, Offer("s3://alula/folder", overwrite=True))
    assert await blobs.exists("s3://alula/one")
    await cache.put(KEY, Offer("s3://alula/two", overwrite=True), delete_blob=True)
    assert not await blobs.exists("s3://alula/folder/outputs.pb")
    assert await blobs.exists("s3://alula/folder/other")
    await cache.put(KEY, Offer("s3://alula/two", overwrite=True), delete_blob=True)
    assert await blobs.exists("s3://alula/two"), "it is the new one, too"
    await cache.put(KEY, Offer("s3://elsewhere/three", overwrite=True))
    await cache.put(KEY, Offer("s3://alula/one", overwrite=True), delete_blob=True)
    assert (await cache.get(KEY)).uri == "s3://alula/one", "what cannot be removed is left"


async def test_one_works_it_out(cache: Cache) -> None:
    held = await asyncio.gather(*(cache.reserve(KEY, f"o{n}") for n in range(12)))
    assert len({h.owner for h in held}) == 1
    owner = held[0].owner
    before = held[0].expires_at
    wait(cache, timedelta(seconds=20))
    assert (await cache.reserve(KEY, owner)).expires_at > before
    await cache.release(KEY, "somebody else")
    assert (await cache.reserve(KEY, "late")).owner == owner
    await cache.release(KEY, owner)
    await cache.release(KEY, owner)
    assert (await cache.reserve(KEY, "late")).owner == "late"


async def test_an_owner_that_died_is_replaced(cache: Cache) -> None:
    await cache.reserve(KEY, "dead", timedelta(seconds=5))
    wait(cache, timedelta(seconds=10))
    assert (await cache.reserve(KEY, "heir")).owner == "dead"
    wait(cache, timedelta(seconds=5))
    taken = await asyncio.gather(*(cache.reserve(KEY, f"heir{n}") for n in range(5)))
    assert len({h.owner for h in taken}) == 1
    assert taken[0].owner != "dead"
    with pytest.raises(Invalid, match="owner_id"):
        await cache.reserve(KEY, "")


async def test_lookup_wants_outputs_that_can_be_read(cache: Cache) -> None:
    await cache.put(KEY, Offer("s3://alula/p/a1/1"))
    assert await cache.lookup(KEY) is None, "its outputs are gone"
    await cache.blobs.put("s3://alula/p/a1/1/outputs.pb", b"")
    hit = await cache.lookup(KEY)
    assert hit is not None
    assert hit.uri == "s3://alula/p/a1/1"
    assert await cache.lookup(KEY, timedelta(seconds=1)) is None
    assert await cache.lookup(CacheKey("p", "staging", "k")) is None
    await cache.put(KEY, Offer("s3://elsewhere/1", overwrite=True))
    assert await cache.lookup(KEY) is None
    await cache.put(KEY, Offer(literals=b"", overwrite=True))
    assert await cache.lookup(KEY) is None


async def test_lookup_everywhere_takes_the_newest_that_is_good(cache: Cache) -> None:
    for place in ("old", "new", "short"):
        await cache.blobs.put(f"s3://alula/{place}/outputs.pb", b"")
    await cache.put(CacheKey.unscoped("k"), Offer("s3://alula/short"))
    assert await cache.lookup(CacheKey.everywhere("k")) is None
    await cache.put(CacheKey("p", "development", "k"), Offer("s3://alula/old"))
    await cache.put(CacheKey("q", "development", "k"), Offer("s3://alula/new"))
    await cache.put(CacheKey("r", "development", "k"), Offer("s3://alula/short", max_age=timedelta(seconds=1)))
    wait(cache, HOUR)
    hit = await cache.lookup(CacheKey.everywhere("k"))
    assert hit is not None
    assert hit.uri == "s3://alula/new"
    assert await cache.lookup(CacheKey.everywhere("k"), timedelta(minutes=1)) is None


async def test_what_is_over_is_pruned(cache: Cache) -> None:
    now = cache.clock()
    for n in range(450):
        key = CacheKey("p", "d", f"k{n}")
        await cache.database.write(lambda tx, key=key: store.reserve(tx, key, "o", timedelta(seconds=1), now))  # type: ignore[misc]
    await cache.put(KEY, Offer("s3://alula/short", max_age=HOUR))
    await cache.put(CacheKey("p", "d", "stays"), Offer("s3://alula/long"))
    wait(cache, 2 * HOUR)
    await cache.reserve(CacheKey("p", "d", "alive"), "o")
    assert await cache.prune() == 451
    assert await cache.prune() == 0
    assert (await cache.reserve(CacheKey("p", "d", "alive"), "other")).owner == "o"
    assert await found(cache, CacheKey("p", "d", "stays")) is not None
