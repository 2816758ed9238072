"""Who leads: one of several programs, by a Lease of the cluster (`coordination.k8s.io/v1`).

Clocks of machines differ, so no time in a Lease is compared with the time here. A program counts, by its own steady
clock, how long it has seen a Lease unchanged; and the leader counts from before it asked for what has renewed it. As a
leader stops itself (``PATIENCE``) before anyone else may count to the end (``DURATION``), there are never two.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from alula.kube.client import Kube
from alula.kube.objects import LEASES, Busy, Conflict, Exists, Name, NotFound, Object, version_of

T = TypeVar("T")

DURATION = 15.0  # seconds that a Lease must be seen unchanged before another may take it
PATIENCE = 10.0  # seconds after its last renewal at which a leader is none any more
PERIOD = 3.0  # seconds between two renewals


@dataclass(frozen=True, slots=True)
class Candidate:
    """Who wants to lead. ``identity`` is unique for each start of a program; ``labels`` are for the Leases it makes."""

    kube: Kube
    identity: str
    steady: Callable[[], float]
    clock: Callable[[], datetime]
    labels: Mapping[str, str] = field(default_factory=dict)


class Leader:
    """One Lease, as one candidate sees it. `seek` again and again, every ``PERIOD`` seconds."""

    def __init__(self, candidate: Candidate, name: Name) -> None:
        self.name = name
        self._me = candidate
        self._seen: Object | None = None
        self._seen_at = 0.0
        self._until = float("-inf")  # we lead until then

    @property
    def leads(self) -> bool:
        """Whether we lead at this moment. Nobody has to tell: time alone ends it."""
        return self._me.steady() < self._until

    @property
    def holder(self) -> str:
        """Who holds the Lease, as far as is seen: "" if nobody does, also if it has run out."""
        if self._seen is None or self._me.steady() >= self._seen_at + _duration(self._seen):
            return ""
        return _holder(self._seen)

    @property
    def quiet(self) -> float:
        """Seconds for which the Lease has not been seen to change."""
        return self._me.steady() - self._seen_at

    def observe(self, lease: Object | None) -> None:
        """What a read has shown."""
        if lease is None or self._seen is None or version_of(lease) != version_of(self._seen):
            self._seen, self._seen_at = lease, self._me.steady()

    async def seek(self) -> bool:
        """Take the Lease if it is free, renew it if it is ours. Returns whether we lead now.

        Raises:
            KubeError: the cluster did not do it. Who led, leads until their patience ends.
        """
        began = self._me.steady()
        if self.holder not in ("", self._me.identity):
            return self.leads
        try:
            if self._seen is None:
                self._took(await in_time(self._me.kube.create(LEASES, self._renewed(self._new()))), began)
            else:
                self._took(await in_time(self._me.kube.replace(LEASES, self._renewed(self._seen))), began)
        except (Exists, NotFound, Conflict):
            await self._look()
        return self.leads

    async def release(self) -> None:
        """Let another have it, at once: call this when what the leader does has stopped."""
        self._until = float("-inf")
        if self._seen is None or _holder(self._seen) != self._me.identity:
            return
        spec = {**self._seen["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
        with suppress(Conflict, NotFound):  # it is not ours any more
            self.observe(await in_time(self._me.kube.replace(LEASES, {**self._seen, "spec": spec})))

    def _new(self) -> Object:
        meta = {"name": self.name.name, "namespace": self.name.namespace, "labels": dict(self._me.labels)}
        return {"metadata": meta, "spec": {}}

    async def _look(self) -> None:
        """Another has written it. That it was one of our own writes whose answer was lost, the next `seek` finds."""
        try:
            found = await in_time(self._me.kube.get(LEASES, self.name))
        except NotFound:
            found = None
        self.observe(found)
        if found is None or _holder(found) != self._me.identity:
            self._until = float("-inf")

    def _took(self, lease: Object, began: float) -> None:
        self.observe(lease)
        self._until = began + PATIENCE

    def _renewed(self, lease: Object) -> Object:
        now = self._me.clock().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec: dict[str, Any] = {**lease["spec"], "renewTime": now, "leaseDurationSeconds": int(DURATION)}
        if spec.get("holderIdentity") != self._me.identity:
            transitions = spec.get("leaseTransitions", -1) + 1
            spec |= {"holderIdentity": self._me.identity, "acquireTime": now, "leaseTransitions": transitions}
        return {**lease, "spec": spec}


async def in_time(asking: Awaitable[T]) -> T:
    """What takes longer than a period is no use to a Lease any more: `Busy`."""
    try:
        async with asyncio.timeout(PERIOD):
            return await asking
    except TimeoutError:
        raise Busy("the cluster took too long to answer for a Lease") from None


def _holder(lease: Object) -> str:
    return str(lease["spec"].get("holderIdentity") or "")


def _duration(lease: Object) -> float:
    return float(lease["spec"].get("leaseDurationSeconds") or DURATION)
