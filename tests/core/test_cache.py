"""What is kept, replaced and reserved. Case C33 (rules): hit, overwrite, age, the owner that died."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alula.core.cache import (
    FOR_EVER,
    GRACE,
    HEARTBEAT,
    KEY_LIMIT,
    CacheKey,
    Entry,
    Offer,
    Reservation,
    check_key,
    is_good,
    kept,
    may_replace,
    reserve,
)
from alula.core.errors import Invalid

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def entry(age: timedelta, life: timedelta | None = None) -> Entry:
    put = NOW - age
    return Entry("s3://b/o", None, b"", "", put - SECOND, put, None if life is None else put + life)


@pytest.mark.parametrize(
    ("known", "max_age", "good"),
    [
        (entry(10 * SECOND), FOR_EVER, True),
        (entry(10 * SECOND), 10 * SECOND, True),
        (entry(10 * SECOND), 9 * SECOND, False),
        (entry(10 * SECOND, 10 * SECOND), FOR_EVER, True),
        (entry(10 * SECOND, 9 * SECOND), FOR_EVER, False),
        (entry(10 * SECOND, 9 * SECOND), 100 * SECOND, False),
        (entry(-10 * SECOND), SECOND, True),  # another server's clock is ahead
    ],
)
def test_how_long_a_result_is_good(known: Entry, max_age: timedelta, good: bool) -> None:
    assert is_good(known, NOW, max_age) is good


@pytest.mark.parametrize(
    ("known", "offer", "taken"),
    [
        (None, Offer("u"), True),
        (entry(SECOND), Offer("u"), False),
        (entry(SECOND), Offer("u", overwrite=True), True),
        (entry(10 * SECOND), Offer("u", max_age=5 * SECOND), True),
        (entry(10 * SECOND), Offer("u", max_age=20 * SECOND), False),
        (entry(10 * SECOND, 5 * SECOND), Offer("u"), True),
    ],
)
def test_what_an_offer_replaces(known: Entry | None, offer: Offer, taken: bool) -> None:
    assert may_replace(known, offer, NOW) is taken


def test_what_is_kept_of_an_offer() -> None:
    known = entry(10 * SECOND)
    first = kept(None, Offer("u", source="s"), NOW)
    assert (first.uri, first.source, first.created_at, first.updated_at, first.expires_at) == ("u", "s", NOW, NOW, None)
    again = kept(known, Offer("v"), NOW)
    assert (again.created_at, again.updated_at) == (known.created_at, NOW)
    told = kept(known, Offer("v", created_at=NOW - timedelta(days=9)), NOW)
    assert told.created_at == NOW - timedelta(days=9)
    assert kept(None, Offer("u", max_age=SECOND), NOW).expires_at == NOW + SECOND
    assert kept(None, Offer("u", max_age=timedelta.max), NOW).expires_at is None


@pytest.mark.parametrize(
    ("asked", "heartbeat"),
    [
        (timedelta(0), HEARTBEAT),
        (-SECOND, HEARTBEAT),
        (timedelta.max, HEARTBEAT),
        (3 * SECOND, 3 * SECOND),
        (timedelta(microseconds=1500), timedelta(microseconds=1500)),
    ],
)
def test_a_lease_is_some_heartbeats_long(asked: timedelta, heartbeat: timedelta) -> None:
    assert reserve(None, "a", asked, NOW) == Reservation("a", heartbeat, NOW + GRACE * heartbeat)


@pytest.mark.parametrize(
    ("known", "owner"),
    [
        (Reservation("a", SECOND, NOW + SECOND), "a"),  # alive
        (Reservation("a", SECOND, NOW), "b"),  # over
        (Reservation("a", SECOND, NOW - SECOND), "b"),
        (Reservation("b", SECOND, NOW + SECOND), "b"),  # one's own
    ],
)
def test_who_holds_a_reservation(known: Reservation, owner: str) -> None:
    held = reserve(known, "b", SECOND, NOW)
    assert held.owner == owner
    assert held == known if owner == "a" else held.expires_at == NOW + GRACE * SECOND


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 60), st.integers(-5, 40)), max_size=40),
)
def test_at_most_one_owner_is_alive(asked: list[tuple[str, int, int]]) -> None:
    """However they ask, whoever was told that it is his may rely on it until his lease is over."""
    held: Reservation | None = None
    now, leases = NOW, dict[str, datetime]()
    for owner, waited, heartbeat in asked:
        now += waited * SECOND
        held = reserve(held, owner, heartbeat * SECOND, now)
        if held.owner == owner:
            leases[owner] = held.expires_at
        alive = [other for other, end in leases.items() if now < end]
        assert alive in ([], [held.owner])
        assert held.expires_at <= now + GRACE * HEARTBEAT


@pytest.mark.parametrize("key", ["k", "x" * KEY_LIMIT, "\u00e4/ b"])
def test_keys(key: str) -> None:
    check_key(CacheKey.unscoped(key))
    check_key(CacheKey.everywhere(key))
    check_key(CacheKey("p" * 64, "d" * 64, key))


@pytest.mark.parametrize(
    ("key", "why"),
    [
        (CacheKey.unscoped(""), "key: .*empty"),
        (CacheKey.unscoped("x" * (KEY_LIMIT + 1)), "key: .*8192"),
        (CacheKey.unscoped("\u00e4" * 4097), "key: .*8192"),
        (CacheKey("p" * 65, "d", "k"), "identifier: .*64"),
        (CacheKey("p", "d" * 65, "k"), "identifier: .*64"),
    ],
)
def test_what_is_no_key(key: CacheKey, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        check_key(key)


def test_places_of_keys_differ() -> None:
    places: list[Any] = [CacheKey.unscoped("k"), CacheKey.everywhere("k"), CacheKey("p", "d", "k")]
    assert len(set(places)) == 3
