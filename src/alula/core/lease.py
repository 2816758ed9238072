"""Who of several replicas works on what: the decision, from what one of them sees.

No clock is compared with another. Each replica counts its beats in a row of its own; who sees the same beat for a whole
term, measured by a clock that only it reads, and has looked all the while, takes that replica for dead. Nothing depends
on that being true: what a replica writes is fenced by its leases, in the same transaction.

There are `COUNTS` leases of a kind. Each replica that can work on a kind has a fair share of them. It claims what is
free up to its share, and beyond its share gives up what it is not busy with: work under way is never moved.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

SHARDS = 64
RUNS, APPS, RETENTION = "runs", "apps", "retention"
COUNTS: Mapping[str, int] = {RUNS: SHARDS, APPS: 1, RETENTION: 1}
BEATS = 5  # in a term


@dataclass(frozen=True, slots=True)
class Replica:
    """A row of `replicas`. ``term``: seconds; ``kinds``: what it can work on; ``url``: where people reach it."""

    id: str
    beat: int
    term: float
    kinds: tuple[str, ...]
    url: str = ""


@dataclass(frozen=True, slots=True)
class Sight:
    """A beat, and since when it is the last one that was seen."""

    beat: int
    since: float


@dataclass(frozen=True, slots=True)
class Seen:
    """What a replica remembers of the others; ``at``: when it looked last."""

    sights: Mapping[str, Sight]
    at: float


NOTHING: Seen = Seen({}, float("-inf"))


@dataclass(frozen=True, slots=True)
class Turn:
    """What a replica does next: bury the dead, claim what is free, give up what others shall have."""

    bury: tuple[Replica, ...] = ()
    claim: tuple[str, ...] = ()
    give_up: tuple[str, ...] = ()


def lease_of(run: int) -> str:
    """The lease under which a run is worked on."""
    return f"{RUNS}/{run % SHARDS}"


def names(kind: str) -> list[str]:
    """All leases of a kind."""
    return [f"{kind}/{number}" for number in range(COUNTS[kind])]


def look(replicas: Sequence[Replica], before: Seen, me: Replica, now: float) -> Seen:
    """What is remembered after a look. Who could not look for a while starts to count anew."""
    blind = now - before.at > 2 * me.term / BEATS
    known = {} if blind else before.sights
    sights = {}
    for replica in replicas:
        sight = known.get(replica.id)
        sights[replica.id] = sight if sight is not None and sight.beat == replica.beat else Sight(replica.beat, now)
    return Seen(sights, now)


def turn(me: Replica, replicas: Sequence[Replica], held: Mapping[str, str], seen: Seen, busy: Collection[str]) -> Turn:
    """What to do, given all replicas, the holder of each lease that has one, and what ``me`` is busy with."""
    dead = tuple(
        replica
        for replica in replicas
        if replica.id != me.id and seen.at - seen.sights[replica.id].since >= replica.term
    )
    if dead:
        return Turn(bury=dead)  # what they held is free with the next look
    claim: list[str] = []
    give_up: list[str] = []
    for kind in me.kinds:
        share = _share(me, [replica.id for replica in replicas if kind in replica.kinds], COUNTS[kind])
        mine = [name for name in names(kind) if held.get(name) == me.id]
        free = sorted((name for name in names(kind) if name not in held), key=lambda name: _rank(me.id, name))
        claim += free[: max(0, share - len(mine))]
        idle = sorted((name for name in mine if name not in busy), key=lambda name: _rank(me.id, name))
        give_up += idle[: max(0, len(mine) - share)]
    return Turn(claim=tuple(claim), give_up=tuple(give_up))


def _share(me: Replica, live: Sequence[str], count: int) -> int:
    """How many of ``count`` are fair: the shares of all make up the whole."""
    order = sorted({*live, me.id})
    return count // len(order) + (order.index(me.id) < count % len(order))


def _rank(replica: str, name: str) -> bytes:
    """An order of its own for each replica: several do not reach for the same first, nor give up neighbours.

    Runs that are made one after the other are neighbours: they are to be worked on by all.
    """
    return blake2b(f"{replica} {name}".encode(), digest_size=8).digest()
