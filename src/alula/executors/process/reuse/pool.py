"""The workers of one key, and the attempts that wait for them."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from alula.core.launch import Launch, Observation, Presence, Reuse
from alula.core.reuse import Plan, Worker, plan
from alula.executors.process.reuse.peer import Peer


@dataclass(slots=True, eq=False)
class Attempt:
    """``launch`` and ``pool`` are known while it waits, and ``member`` from when it has a worker."""

    name: str
    grace: float
    called: str
    caller: str
    seen: Observation
    secrets: tuple[str, ...] = ()
    launch: Launch | None = None
    pool: "Pool | None" = None
    member: "Member | None" = None
    over: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True, eq=False)
class Member:
    """A worker of the pool. ``killed``: we end it, so that its end is nobody's own."""

    name: str
    pool: "Pool"
    since: float
    peer: Peer | None = None
    attempts: dict[str, Attempt] = field(default_factory=dict)
    killed: bool = False
    met: bool = False  # it came so far that it could run something
    notes: tuple[str, ...] = ()


class Pool:
    """Carries out what `core.reuse` decides. ``start`` and ``end`` bring a worker about and to its end."""

    def __init__(self, reuse: Reuse, start: Callable[["Pool", Launch], Member], end: Callable[[Member], None]) -> None:
        self.reuse = reuse
        self.members: dict[str, Member] = {}
        self.waiting: deque[Attempt] = deque()
        self._start, self._end = start, end
        self._pattern: Launch | None = None  # what a worker for it looks like
        self._timer: asyncio.TimerHandle | None = None

    @property
    def empty(self) -> bool:
        return not self.members and not self.waiting

    def add(self, attempt: Attempt) -> None:
        """An attempt wants to be run."""
        assert attempt.launch is not None
        self._pattern, attempt.pool = attempt.launch, self
        self.waiting.append(attempt)
        self.step()

    def step(self) -> None:
        """Something has changed, or a time has come: do what is next."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        loop = asyncio.get_running_loop()
        while True:
            decided = self._plan(loop.time())
            for name in decided.end:
                self._end(self.members.pop(name))
            for name in decided.give:
                self._give(self.members[name], self.waiting.popleft())
            started = decided.start if self._pattern is not None else 0
            for _ in range(started):
                assert self._pattern is not None
                member = self._start(self, self._pattern)
                self.members[member.name] = member
            if not (decided.end or decided.give or started):
                break
        if decided.look is not None:
            self._timer = loop.call_at(decided.look, self.step)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _plan(self, now: float) -> Plan:
        workers = [
            Worker(member.name, member.peer is not None, len(member.attempts), member.since)
            for member in self.members.values()
        ]
        running = [attempt for member in self.members.values() for attempt in member.attempts.values()]
        callers = {attempt.caller for attempt in (*running, *self.waiting)}
        parents = sum(attempt.called in callers for attempt in running)
        return plan(self.reuse, workers, len(self.waiting), parents, now)

    def _give(self, member: Member, attempt: Attempt) -> None:
        assert member.peer is not None
        assert attempt.launch is not None
        launch, attempt.launch, attempt.pool, attempt.member = attempt.launch, None, None, member
        attempt.seen = replace(attempt.seen, notes=(*attempt.seen.notes, *member.notes))
        member.attempts[attempt.name] = attempt
        own = {name: value for name, value in launch.env.items() if name in self.reuse.own}
        about = {
            "grace": attempt.grace,
            "called": attempt.called,
            "caller": attempt.caller,
            "secrets": launch.secrets,
            "notes": attempt.seen.notes,
        }
        member.peer.send({"run": attempt.name, "command": launch.command, "env": own, "about": about})

    def gave_up(self, attempt: Attempt) -> None:
        """An attempt that waits is not wanted any more."""
        if attempt in self.waiting:
            self.waiting.remove(attempt)
            self.step()


def lost(attempt: Attempt, why: str) -> Observation:
    """How an attempt is seen that nobody saw the end of."""
    return replace(attempt.seen, presence=Presence.LOST, log_tail=why)
