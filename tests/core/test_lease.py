"""Who of several replicas works on what: the decision by tables, and whole clusters by chance."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alula.core.lease import (
    APPS,
    BEATS,
    COUNTS,
    NOTHING,
    RUNS,
    SHARDS,
    Replica,
    Seen,
    Sight,
    Turn,
    lease_of,
    look,
    names,
    turn,
)

TERM = 10.0
ALL = frozenset(names(RUNS))


def replica(name: str, beat: int = 0, kinds: Sequence[str] = (RUNS,)) -> Replica:
    return Replica(name, beat, TERM, tuple(kinds))


A, B, C = (replica(name) for name in "abc")


def seen(*replicas: Replica, since: float = 0.0, at: float = 0.0) -> Seen:
    return Seen({one.id: Sight(one.beat, since) for one in replicas}, at)


def test_a_run_is_always_under_the_same_lease() -> None:
    assert {lease_of(run) for run in range(1000)} == ALL
    assert lease_of(5) == lease_of(5 + SHARDS)


def test_the_first_takes_everything() -> None:
    step = turn(A, [A], {}, seen(A), ())
    assert frozenset(step.claim) == ALL
    assert (step.bury, step.give_up) == ((), ())


def test_a_second_is_given_its_half_of_what_is_idle() -> None:
    held = dict.fromkeys(ALL, "a")
    step = turn(A, [A, B], held, seen(A, B), ())
    assert len(step.give_up) == SHARDS // 2
    assert turn(B, [A, B], held, seen(A, B), ()) == Turn()
    left = {name: "a" for name in ALL if name not in step.give_up}
    assert frozenset(turn(B, [A, B], left, seen(A, B), ()).claim) == frozenset(step.give_up)


def test_what_is_busy_is_never_given_up() -> None:
    step = turn(A, [A, B], dict.fromkeys(ALL, "a"), seen(A, B), ALL - {"runs/7"})
    assert step.give_up == ("runs/7",)


def test_nobody_claims_more_than_a_share() -> None:
    """What a dead third had is divided."""
    held = {name: "ab"[number % 2] for number, name in enumerate(names(RUNS)) if number < 40}
    claims = [turn(one, [A, B], held, seen(A, B), ()).claim for one in (A, B)]
    assert [len(claim) for claim in claims] == [12, 12]


@pytest.mark.parametrize(
    ("beat", "silent", "blind", "dead"),
    [
        (0, TERM, False, True),
        (0, TERM - 0.1, False, False),  # not for a whole term yet
        (1, TERM, False, False),  # a new beat
        (0, 60 * TERM, True, False),  # who was stopped itself has not seen that others are silent
    ],
)
def test_when_a_replica_is_dead(beat: int, silent: float, blind: bool, dead: bool) -> None:
    before = Seen({"a": Sight(0, 0.0), "b": Sight(0, 0.0)}, 0.0 if blind else silent - 1)
    now = look([A, replica("b", beat)], before, A, silent)
    step = turn(A, [A, replica("b", beat)], dict.fromkeys(ALL, "b"), now, ())
    assert bool(step.bury) is dead
    assert not step.claim, "what the dead held is free only once they are buried"


def test_a_replica_is_not_dead_to_who_has_just_come() -> None:
    now = look([A, B], NOTHING, A, 1e9)
    assert now.sights["b"] == Sight(0, 1e9)


def test_nobody_buries_itself() -> None:
    assert turn(A, [A], dict.fromkeys(ALL, "a"), seen(A, at=60 * TERM), ()) == Turn()


def test_single_leases_go_to_who_can_hold_them() -> None:
    able = replica("z", kinds=(RUNS, APPS))
    assert "apps/0" in turn(able, [A, able], {}, seen(A, able), ()).claim
    assert "apps/0" not in turn(A, [A, able], {}, seen(A, able), ()).claim


class Cluster:
    """Replicas whose turns a test orders; what is in the rows is what they did."""

    def __init__(self) -> None:
        self.now = 0.0
        self.rows: dict[str, Replica] = {}
        self.held: dict[str, str] = {}
        self.memory: dict[str, Seen] = {}
        self.busy: dict[str, set[str]] = {}

    def join(self, name: str) -> None:
        self.rows[name] = replica(name)
        self.memory[name] = NOTHING

    def turn(self, name: str) -> None:
        """One replica takes a turn, if it still is one; it is alone with the rows meanwhile."""
        if name not in self.rows:
            return
        me = self.rows[name]
        self.memory[name] = look(list(self.rows.values()), self.memory[name], me, self.now)
        step = turn(me, list(self.rows.values()), self.held, self.memory[name], self.busy.get(name, set()))
        self.rows[name] = replace(me, beat=me.beat + 1)
        for dead in step.bury:
            del self.rows[dead.id]
            self.held = {lease: holder for lease, holder in self.held.items() if holder != dead.id}
        for lease in step.claim:
            assert self.held.setdefault(lease, name) == name
        for lease in step.give_up:
            assert lease not in self.busy.get(name, set())
            assert self.held.pop(lease) == name

    def beat(self, alive: Sequence[str], seconds: float) -> None:
        """Time passes; those alive take their turns."""
        end = self.now + seconds
        while self.now < end:
            self.now += TERM / BEATS
            for name in alive:
                self.turn(name)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["join", "die", "work", "rest"]), st.sampled_from("abcde")), max_size=25),
)
def test_whatever_happens_in_the_end_the_living_have_fair_shares(events: list[tuple[str, str]]) -> None:
    """And never has a lease two holders, nor is one given up that is worked under."""
    cluster = Cluster()
    alive: set[str] = {"a"}
    cluster.join("a")
    for number, (event, letter) in enumerate(events):
        mine = {lease for lease, holder in cluster.held.items() if holder == letter}
        if event == "join" and letter not in alive and letter not in cluster.rows:
            cluster.join(letter)
            alive.add(letter)
        elif event == "die" and len(alive) > 1:
            alive.discard(letter)
            cluster.busy.pop(letter, None)
        elif event == "work" and letter in alive:
            cluster.busy[letter] = set(sorted(mine)[: number + 1])
        elif event == "rest":
            cluster.busy.pop(letter, None)
        cluster.beat(sorted(alive), TERM / BEATS * (number % 4))
        for lease in cluster.busy.get(letter, set()):
            assert cluster.held[lease] == letter
    cluster.busy.clear()
    cluster.beat(sorted(alive), 4 * TERM)
    shares = [sum(holder == name for holder in cluster.held.values()) for name in alive]
    assert sum(shares) == COUNTS[RUNS]
    assert max(shares) - min(shares) <= 1
    assert set(cluster.rows) == alive
