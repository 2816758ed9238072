"""Leases: one leader at most, whatever clocks and connections do. Each candidate has a clock of its own."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from alula.kube.client import Kube
from alula.kube.leader import DURATION, PATIENCE, PERIOD, Candidate, Leader
from alula.kube.objects import LEASES, KubeError, Name
from tests.kube.cluster import Cluster


class Clock:
    """A steady clock, and a wall clock that is wrong by some hours."""

    def __init__(self, wrong: float = 0.0) -> None:
        self.now = 100.0
        self._wrong = timedelta(hours=wrong)

    def steady(self) -> float:
        return self.now

    def wall(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + self._wrong + timedelta(seconds=self.now)


def leader(cluster: Cluster, identity: str, clock: Clock, kube: Kube | None = None) -> Leader:
    candidate = Candidate(kube or cluster.kube, identity, clock.steady, clock.wall, {"a": "b"})
    return Leader(candidate, Name(cluster.namespace, "the-lease"))


async def test_one_of_two_leads_and_keeps_it_by_renewing(cluster: Cluster) -> None:
    clock = Clock()
    one, two = leader(cluster, "one", clock), leader(cluster, "two", clock)
    assert await one.seek()
    for _ in range(5):
        assert not await two.seek()
        clock.now += PATIENCE - 1
        assert await one.seek()
        two.observe(await cluster.kube.get(LEASES, one.name))
    lease = await cluster.kube.get(LEASES, one.name)
    assert (lease["spec"]["holderIdentity"], lease["spec"]["leaseTransitions"]) == ("one", 0)
    assert lease["metadata"]["labels"] == {"a": "b"}
    assert (one.holder, two.holder) == ("one", "one")


@pytest.mark.parametrize("wrong", [-5.0, 0.0, 5.0])
async def test_who_does_not_renew_has_stopped_before_another_begins(cluster: Cluster, wrong: float) -> None:
    """Also where the clocks of the machines tell different hours."""
    clock, other = Clock(), Clock(wrong)
    one, two = leader(cluster, "one", clock), leader(cluster, "two", other)
    await one.seek()
    assert not await two.seek()
    led_until = None
    for _ in range(200):
        clock.now += 0.1
        other.now += 0.1
        if led_until is None and not one.leads:
            led_until = clock.now
        if await two.seek():
            break
    assert led_until is not None
    assert led_until == pytest.approx(100 + PATIENCE, abs=0.2)
    assert other.now >= 100 + DURATION
    assert other.now - led_until > 4
    assert not await one.seek()
    assert (await cluster.kube.get(LEASES, one.name))["spec"]["leaseTransitions"] == 1


async def test_a_release_lets_another_lead_at_once(cluster: Cluster) -> None:
    clock = Clock()
    one, two = leader(cluster, "one", clock), leader(cluster, "two", clock)
    await one.seek()
    assert not await two.seek()
    await one.release()
    assert not one.leads
    two.observe(await cluster.kube.get(LEASES, one.name))
    assert await two.seek()
    assert not await one.seek()
    await one.release()  # not its own any more: this changes nothing
    assert (await cluster.kube.get(LEASES, one.name))["spec"]["holderIdentity"] == "two"


async def test_a_lease_that_somebody_deletes_is_made_anew(cluster: Cluster) -> None:
    clock = Clock()
    one = leader(cluster, "one", clock)
    await one.seek()
    await cluster.kube.delete(LEASES, one.name)
    await one.seek()
    assert await one.seek()
    assert (await cluster.kube.get(LEASES, one.name))["spec"]["holderIdentity"] == "one"


async def test_of_many_at_once_one_leads(cluster: Cluster) -> None:
    clock = Clock()
    leaders = [leader(cluster, f"c{number}", clock) for number in range(6)]
    for _ in range(3):
        await asyncio.gather(*(one.seek() for one in leaders))
        assert sum(one.leads for one in leaders) == 1


@pytest.mark.parametrize("cluster", ["memory"], indirect=True)
async def test_an_answer_that_is_lost_is_no_lead_until_it_is_seen(cluster: Cluster) -> None:
    """The write is done, nobody told: it must neither lead for longer than it knows, nor lock itself out."""
    assert cluster.server is not None
    clock = Clock()
    one = leader(cluster, "one", clock)
    await one.seek()
    cluster.server.faults.lost = 1.0
    clock.now += PERIOD
    with pytest.raises(KubeError):
        await one.seek()
    clock.now = 100 + PATIENCE
    assert not one.leads
    cluster.server.faults.lost = 0.0
    await one.seek()
    assert await one.seek()


@pytest.mark.parametrize("cluster", ["memory"], indirect=True)
async def test_a_cluster_that_is_slow_does_not_hold_a_leader_up(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cluster.server is not None
    monkeypatch.setattr("alula.kube.leader.PERIOD", 0.05)
    cluster.server.faults.latency = (5, 5)
    with pytest.raises(KubeError, match="too long"):
        await leader(cluster, "one", Clock()).seek()
    cluster.server.faults.latency = (0, 0)
