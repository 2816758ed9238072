"""Work that several programs share: it is cut into groups, and each group has at most one holder.

There is a Lease for each group and one for each member. Every member reads them all and comes to the same answer who
should hold what (`fair_share`); where their answers differ for a moment, the Leases of the groups keep them apart.
One group is plain leader election.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Self

from alula.kube.leader import DURATION, PERIOD, Candidate, Leader, in_time
from alula.kube.objects import LEASES, KubeError, Name, Object, Selection, name_of

_log = logging.getLogger(__name__)
_OF = "lease-of"  # a label: the name of what is shared
_LEFT_BEHIND = 20 * DURATION  # seconds after which the Lease of a member that died is removed

Drain = Callable[[int], Awaitable[None]]  # returns when nothing of the group is worked on any more
Changed = Callable[[frozenset[int]], None]  # what is held now


def fair_share(me: str, members: Iterable[str], holders: Sequence[str]) -> frozenset[int]:
    """The groups that ``me`` should hold. ``holders``: who holds each group now, "" for nobody.

    Nobody gets two more than another; who holds the most keeps the most; what is held well is not moved.
    """
    held = Counter(holders)
    everyone = sorted({*members, me}, key=lambda name: (-held[name], name))
    least, more = divmod(len(holders), len(everyone))
    room = {name: least + (place < more) for place, name in enumerate(everyone)}
    share: dict[str, list[int]] = {name: [] for name in everyone}
    free = []
    for group, holder in enumerate(holders):
        if holder not in share:
            free.append(group)
        elif len(share[holder]) < room[holder]:
            share[holder].append(group)
    for name in everyone:
        while free and len(share[name]) < room[name]:
            share[name].append(free.pop(0))
    return frozenset(share[me])


class Shares:
    """The share of one member, in an ``async with``: what it holds is let go at the end.

    ``drain`` is awaited before a group is let go; the Lease is kept meanwhile, but `holds` says no at once.
    The candidate's identity is a part of names: small letters, digits and dashes.
    """

    def __init__(self, candidate: Candidate, name: Name, groups: int, *, drain: Drain, changed: Changed) -> None:
        self._me = replace(candidate, labels={**candidate.labels, _OF: name.name})
        self._namespace, self._of = name
        self._drain, self._changed = drain, changed
        self._groups = [self._lease(str(group)) for group in range(groups)]
        self._member = self._lease(candidate.identity)
        self._others: dict[Name, Leader] = {}
        self._leaving: dict[int, asyncio.Task[None]] = {}
        self._told: frozenset[int] = frozenset()
        self._running: asyncio.Task[None] | None = None

    def holds(self, group: int) -> bool:
        """Whether work of this group may be begun at this moment."""
        return group not in self._leaving and self._groups[group].leads

    async def __aenter__(self) -> Self:
        await self.tick()
        self._running = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._running is not None
        self._running.cancel()
        await asyncio.wait([self._running])
        for group, leader in enumerate(self._groups):
            if leader.leads:
                self._leave(group)
        self._tell()
        await asyncio.gather(*self._leaving.values())
        with suppress(KubeError):
            await self._me.kube.delete(LEASES, self._member.name)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(PERIOD)
            try:
                await self.tick()
            except Exception:  # what is held ends by itself; a member that stopped trying would be idle for ever
                _log.exception("the shares of %s are not brought up to date", self._of)

    async def tick(self) -> None:
        """Renew what is held, see what others hold, take what is due to us, let go what is due to them."""
        await self._seek(self._member, *(leader for leader in self._groups if leader.leads))
        try:
            found, _ = await in_time(self._me.kube.select(Selection(LEASES, self._namespace, f"{_OF}={self._of}")))
        except KubeError as error:
            _log.warning("the Leases of %s cannot be read: %s", self._of, error)
        else:
            await self._observe(found)
        members = {other.holder for other in self._others.values()} - {""}
        wanted = fair_share(self._me.identity, members, [leader.holder for leader in self._groups])
        for group, leader in enumerate(self._groups):
            if leader.leads and group not in wanted:
                self._leave(group)
        await self._seek(*(self._groups[group] for group in wanted if not self._groups[group].leads))
        self._tell()

    async def _seek(self, *leaders: Leader) -> None:
        """A failure of one concerns no other; who led, leads until their patience ends."""
        for ended in await asyncio.gather(*(leader.seek() for leader in leaders), return_exceptions=True):
            if isinstance(ended, KubeError):
                _log.warning("a Lease of %s is not renewed: %s", self._of, ended)
            elif isinstance(ended, BaseException):
                raise ended

    async def _observe(self, found: list[Object]) -> None:
        leases = {name_of(lease): lease for lease in found}
        for leader in self._groups:
            leader.observe(leases.pop(leader.name, None))
        leases.pop(self._member.name, None)
        self._others = {name: self._others.get(name) or Leader(self._me, name) for name in leases}
        for name, lease in leases.items():
            self._others[name].observe(lease)
            if self._others[name].quiet > _LEFT_BEHIND:
                with suppress(KubeError):
                    await self._me.kube.delete(LEASES, name, uid=lease["metadata"]["uid"])

    def _leave(self, group: int) -> None:
        if group not in self._leaving:
            self._leaving[group] = asyncio.create_task(self._let_go(group))

    async def _let_go(self, group: int) -> None:
        try:
            await self._drain(group)
            await self._groups[group].release()
        except KubeError as error:
            _log.warning("a Lease of %s was not given back, it will run out: %s", self._of, error)
        finally:
            del self._leaving[group]

    def _tell(self) -> None:
        held = frozenset(group for group in range(len(self._groups)) if self.holds(group))
        if held != self._told:
            self._told = held
            self._changed(held)

    def _lease(self, part: str) -> Leader:
        return Leader(self._me, Name(self._namespace, f"{self._of}-{part}"))
