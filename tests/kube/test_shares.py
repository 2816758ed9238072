"""Who holds which groups: the decision, and several members on one cluster."""

import asyncio
import random
from contextlib import AsyncExitStack

import pytest

from alula.kube.leader import DURATION, PERIOD, Candidate
from alula.kube.objects import LEASES, Name, Selection
from alula.kube.shares import Shares, fair_share
from tests.kube.cluster import Cluster
from tests.kube.test_leader import Clock


@pytest.mark.parametrize(
    ("me", "members", "holders", "expected"),
    [
        ("a", [], ["", "", ""], {0, 1, 2}),  # alone
        ("a", ["a"], ["a", "a", "a"], {0, 1, 2}),
        ("a", ["a", "b"], ["a", "a", "a", "a"], {0, 1}),  # another has come: let go
        ("b", ["a", "b"], ["a", "a", "a", "a"], set()),  # and wait until they have
        ("b", ["a", "b"], ["a", "a", "", ""], {2, 3}),
        ("a", ["a", "b"], ["", "", "", ""], {0, 1}),  # both come at once
        ("b", ["a", "b"], ["", "", "", ""], {2, 3}),
        ("b", ["b"], ["a", "a", "b", "b"], {0, 1, 2, 3}),  # the other is not there any more
        ("a", ["a", "b"], ["a", "b", "a"], {0, 2}),  # what does not divide stays where it is
        ("b", ["a", "b"], ["b", "b", "a"], {0, 1}),
        ("a", ["a", "b", "c"], ["a", "b"], {0}),  # more members than groups
        ("c", ["a", "b", "c"], ["a", "b"], set()),
        ("a", ["a", "b"], ["b"], set()),  # one group: who leads, leads
        ("c", ["a", "b"], ["a", "a", "a", "b", "b", "b"], set()),  # who is new counts itself
    ],
)
def test_everyone_gets_a_fair_share(me: str, members: list[str], holders: list[str], expected: set[int]) -> None:
    assert fair_share(me, members, holders) == expected


@pytest.mark.parametrize("seed", range(20))
def test_shares_never_overlap_and_lead_to_an_even_end(seed: int) -> None:
    dice = random.Random(seed)
    members = [f"m{number}" for number in range(dice.randint(1, 6))]
    holders = [dice.choice([*members, "", "dead"]) for _ in range(dice.randint(1, 16))]
    for _ in range(3):
        shares = {me: fair_share(me, members, holders) for me in members}
        assert sum(map(len, shares.values())) == len(frozenset().union(*shares.values()))
        holders = [
            next((me for me in members if group in shares[me]), "" if holder in members else holder)
            for group, holder in enumerate(holders)
        ]
    counts = [holders.count(me) for me in members]
    assert sum(counts) == len(holders)
    assert max(counts) - min(counts) <= 1


class Member:
    """One replica: what it holds, and what it was asked to finish."""

    def __init__(self, cluster: Cluster, identity: str, clock: Clock) -> None:
        self.drained: list[int] = []
        self.held: list[set[int]] = []
        self.finished = asyncio.Event()
        self.finished.set()
        candidate = Candidate(cluster.kube, identity, clock.steady, clock.wall)
        name = Name(cluster.namespace, "work")
        self.shares = Shares(candidate, name, 4, drain=self._drain, changed=lambda held: self.held.append(set(held)))

    async def _drain(self, group: int) -> None:
        assert not self.shares.holds(group)
        await self.finished.wait()
        self.drained.append(group)

    @property
    def now(self) -> set[int]:
        return {group for group in range(4) if self.shares.holds(group)}


async def settle(clock: Clock, *members: Member) -> None:
    """Some periods, one member after another; nobody ever holds what another does."""
    for _ in range(4):
        for member in members:
            await member.shares.tick()
            leaving = list(member.shares._leaving.values())
            if leaving and member.finished.is_set():
                await asyncio.wait(leaving)
            held = [group for one in members for group in one.now]
            assert len(held) == len(set(held))
        clock.now += PERIOD


async def test_members_come_and_go_and_always_share_all_groups(cluster: Cluster) -> None:
    clock = Clock()
    a, b, c = (Member(cluster, identity, clock) for identity in "abc")
    await settle(clock, a)
    assert a.now == {0, 1, 2, 3}
    await settle(clock, a, b)
    assert (len(a.now), len(b.now)) == (2, 2)
    assert sorted(a.drained) == sorted(b.now)
    await settle(clock, a, b, c)
    assert sorted(map(len, (a.now, b.now, c.now))) == [1, 1, 2]
    for _ in range(2):  # "c" has died: nobody takes its groups before their Leases have run out
        await settle(clock, a, b)
    assert (len(a.now), len(b.now)) == (2, 2)
    assert clock.now > 100 + DURATION
    assert a.held[0] == {0, 1, 2, 3}


async def test_what_is_worked_on_is_finished_before_it_is_given_away(cluster: Cluster) -> None:
    clock = Clock()
    a, b = Member(cluster, "a", clock), Member(cluster, "b", clock)
    await settle(clock, a)
    a.finished.clear()
    await settle(clock, a, b)
    assert (len(a.now), b.now) == (2, set())
    a.finished.set()
    await settle(clock, a, b)
    assert (len(a.now), len(b.now)) == (2, 2)


async def test_who_leaves_leaves_nothing_behind(cluster: Cluster) -> None:
    clock = Clock()
    a, b = Member(cluster, "a", clock), Member(cluster, "b", clock)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(a.shares)
        assert a.now == {0, 1, 2, 3}
    assert a.now == set()
    assert sorted(a.drained) == [0, 1, 2, 3]
    assert a.held[-1] == set()
    leases, _ = await cluster.kube.select(Selection(LEASES, cluster.namespace))
    assert {lease["metadata"]["name"] for lease in leases} == {f"work-{group}" for group in range(4)}
    await b.shares.tick()
    assert b.now == {0, 1, 2, 3}  # at once, no Lease has to run out
