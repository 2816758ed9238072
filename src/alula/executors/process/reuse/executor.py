"""The executor of attempts that may share a process; all others are passed on to the executor of processes."""

import asyncio
import hashlib
import logging
import secrets
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

from alula.base.news import News
from alula.core.errors import LaunchRefused
from alula.core.launch import Launch, LogLine, Observation, Presence, Resources, Reuse
from alula.executors.base import Executor
from alula.executors.process import follow as _follow
from alula.executors.process import records
from alula.executors.process.reuse import arguments, shared, worker
from alula.executors.process.reuse.peer import Peer
from alula.executors.process.reuse.pool import Attempt, Member, Pool, lost

_PREFIX = "reuse."  # of a worker's name; an attempt's begins with its run's, which has no dot
_GRACE = 2.0  # seconds for a worker that has nothing more to do
_PATIENCE = 5.0  # seconds for a worker that closed its desk, or of an earlier life, to do what it has to

_CAP = 256 * 1024 * 1024  # bytes

_log = logging.getLogger(__name__)


class ReusingExecutor:
    """Keeps the promise of `Executor` by another that runs processes; some of those are workers for many attempts.

    A worker is an attempt of the other one, with a name of its own: what supervises, limits and ends attempts does so
    with workers. What a worker holds, it remembers itself: who comes after a crash asks it.

    Args:
        processes: runs the processes. It is entered before this, and left after.
        home: its folder.
        log_cap: bytes of an attempt's log.
        reuse: whether attempts may share processes; else all are passed on.
    """

    def __init__(
        self,
        processes: Executor,
        home: Path,
        *,
        log_cap: int = _CAP,
        reuse: bool = True,
    ) -> None:
        self._log_cap, self._reuse = log_cap, reuse
        self._processes = processes
        self._home = records.Home(home.absolute())
        self._logs = shared.Logs(self._home)
        self._attempts: dict[str, Attempt] = {}
        self._pools: dict[str, Pool] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._growth = _follow.Growth()
        self._news = News()
        self._began = datetime.now(UTC)

    async def __aenter__(self) -> Self:
        """Find the workers of an earlier life, and what they run."""
        await asyncio.to_thread(self._logs.prepare)
        self._keep(self._pass_on())
        async with asyncio.TaskGroup() as found:
            for name in await self._processes.names():
                if name.startswith(_PREFIX):
                    found.create_task(self._meet_again(name))
        await asyncio.to_thread(self._logs.adopt, self._attempts.keys())
        return self

    async def __aexit__(self, *_: object) -> None:
        for pool in self._pools.values():
            pool.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for pool in self._pools.values():
            for member in pool.members.values():
                if member.peer is not None:
                    member.peer.close()

    # The promise

    async def submit(self, launch: Launch) -> None:
        """See `Executor.submit`."""
        if launch.name in self._attempts:
            return
        reuse = launch.reuse if self._reuse else None
        parsed = arguments.parse(launch.command)
        if reuse is None or parsed is None or launch.staging is not None or launch.devices:
            await self._processes.submit(launch)
            return
        seen = Observation(Presence.STARTING, notes=launch.notes)
        attempt = Attempt(launch.name, launch.grace, reuse.called, reuse.caller, seen, launch.secrets, launch=launch)
        if (begun := self._logs.begun(launch.name)) is not None:
            if begun >= self._began:
                raise LaunchRefused(f"attempt {launch.name} has run here before: a name is used once")
            self._attempts[launch.name] = attempt
            self._end(attempt, lost(attempt, "it was begun in an earlier life of this server"))
            return
        self._attempts[launch.name] = attempt
        self._pool(_with(reuse, launch.resources)).add(attempt)

    async def observe(self, name: str) -> Observation | None:
        """See `Executor.observe`."""
        attempt = self._attempts.get(name)
        return await self._processes.observe(name) if attempt is None else attempt.seen

    async def release(self, name: str) -> None:
        """See `Executor.release`."""
        attempt = self._attempts.get(name)
        if attempt is None:
            await self._processes.release(name)
            return
        if not attempt.over.is_set():
            await self._stop(attempt)
        if attempt.member is not None and attempt.member.peer is not None:
            attempt.member.peer.send({"forget": name})
        if self._attempts.get(name) is attempt:
            del self._attempts[name]

    async def forget_log(self, name: str) -> bool:
        """See `Executor.forget_log`."""
        return name not in self._attempts and await self._processes.forget_log(name)

    async def logs(self, name: str, *, follow: bool) -> AsyncIterator[list[LogLine]]:
        """See `Executor.logs`."""
        attempt = self._attempts.get(name)
        if attempt is None:
            async for lines in self._processes.logs(name, follow=follow):
                yield lines
            return
        file = _follow.LogFile(self._logs.segments, name)
        if not follow:
            async for lines in _follow.read(file):
                yield lines
            return
        with self._growth.watch(name, self._follow) as grown:
            async for lines in _follow.follow(file, grown, attempt.over):
                yield lines

    def changes(self) -> AsyncIterator[str]:
        """See `Executor.changes`. For one consumer."""
        return self._news.names()

    async def names(self) -> list[str]:
        """See `Executor.names`."""
        return [name for name in await self._processes.names() if not name.startswith(_PREFIX)] + list(self._attempts)

    # Attempts

    async def _stop(self, attempt: Attempt) -> None:
        """Cancel it; if that is not enough, end its worker and whatever else it runs."""
        if attempt.member is None:
            if attempt.pool is not None:
                attempt.pool.gave_up(attempt)
            self._end(attempt, lost(attempt, "released before it began"))
            return
        if attempt.member.peer is not None:
            attempt.member.peer.send({"cancel": attempt.name})
        try:
            async with asyncio.timeout(attempt.grace):
                await attempt.over.wait()
        except TimeoutError:
            self._dismiss(attempt.member)
            await attempt.over.wait()

    def _end(self, attempt: Attempt, seen: Observation) -> None:
        attempt.seen = seen
        attempt.over.set()
        self._growth.grew(attempt.name)
        self._news.tell(attempt.name)

    def _follow(self, name: str, on: bool) -> None:
        attempt = self._attempts.get(name)
        if attempt is not None and attempt.member is not None and attempt.member.peer is not None:
            attempt.member.peer.send({"follow": name, "on": on})

    async def _pass_on(self) -> None:
        async for name in self._processes.changes():
            if not name.startswith(_PREFIX):
                self._news.tell(name)

    # Workers

    def _pool(self, reuse: Reuse) -> Pool:
        if reuse.key not in self._pools:
            self._pools[reuse.key] = Pool(reuse, self._hire, self._dismiss)
        return self._pools[reuse.key]

    def _hire(self, pool: Pool, pattern: Launch) -> Member:
        """Start a worker."""
        name = f"{_PREFIX}{pool.reuse.key[:12]}.{secrets.token_hex(4)}"
        plan = {"logs": str(self._logs.folder), "over": str(self._home.logs), "folder": str(self._home.attempt(name))}
        command = worker.command({**plan, "cap": self._log_cap, "policy": _spelled(pool.reuse)})
        env = {key: value for key, value in pattern.env.items() if key not in pool.reuse.own}
        launch = replace(pattern, name=name, command=command, env=env, grace=_GRACE, reuse=None)
        member = Member(name, pool, asyncio.get_running_loop().time())
        self._keep(self._attend(member, launch))
        return member

    def _dismiss(self, member: Member) -> None:
        """End a worker, whatever it does."""
        member.killed = True
        member.pool.members.pop(member.name, None)
        self._keep(self._processes.release(member.name))

    async def _meet_again(self, name: str) -> None:
        """A worker of an earlier life: hear what it does, or end it."""
        try:
            async with asyncio.timeout(_PATIENCE):
                peer = await Peer.open(self._home.attempt(name))
                hello = await anext(peer.messages())
        except (OSError, TimeoutError, StopAsyncIteration) as error:
            _log.info("worker %s is not there any more: %s", name, error)
            await self._processes.release(name)
            return
        pool = self._pool(_read(hello["hello"]))
        member = Member(name, pool, asyncio.get_running_loop().time(), peer, met=True)
        pool.members[name] = member
        await self._recall(member, hello)
        self._keep(self._attend(member, None))
        pool.step()

    async def _recall(self, member: Member, hello: Mapping[str, Any]) -> None:
        for name, about in hello["abouts"].items():
            at = hello["held"].get(name, 0)
            seen = Observation(
                Presence.RUNNING if at else Presence.STARTING,
                started_at=_time(at) if at else None,
                notes=tuple(about["notes"]),
            )
            own = tuple(about["secrets"])
            attempt = Attempt(name, about["grace"], about["called"], about["caller"], seen, own, member=member)
            self._attempts[name] = attempt
            if name in hello["held"]:
                member.attempts[name] = attempt
            else:
                self._end(attempt, _observation(hello["ended"][name], attempt.seen.notes))

    async def _attend(self, member: Member, launch: Launch | None) -> None:
        """A worker's life, from its start to its end."""
        refused = ""
        try:
            if launch is not None:
                await self._processes.submit(launch)
                await self._meet(member)
            if member.peer is not None:
                await self._listen(member, member.peer)
            await self._over(member)
        except LaunchRefused as refusal:
            refused = str(refusal)
        except Exception as error:
            _log.exception("worker %s", member.name)
            refused = f"a reusable worker could not be started: {error}"
        await self._bury(member, refused)

    async def _meet(self, member: Member) -> None:
        """Wait until a worker can be talked to; it says so in its log, and never if it ends before."""
        async for lines in self._processes.logs(member.name, follow=True):
            if any(line.text.startswith(worker.READY) for line in lines):
                break
        else:
            return
        with suppress(OSError):
            member.peer = await Peer.open(self._home.attempt(member.name))
            member.met = True
            seen = await self._processes.observe(member.name)
            member.notes = (*(seen.notes if seen is not None else ()), f"in reusable worker {member.name}")

    async def _listen(self, member: Member, peer: Peer) -> None:
        async for message in peer.messages():
            attempt = member.attempts.get(message.get("started") or message.get("ended") or "")
            if "grew" in message:
                self._growth.grew(message["grew"])
            elif "hello" in message:
                member.pool.step()
            elif attempt is not None and "started" in message:
                attempt.seen = replace(attempt.seen, presence=Presence.RUNNING, started_at=_time(message["at"]))
                self._news.tell(attempt.name)
                if attempt.name in self._growth.names():  # who follows it has waited for this
                    self._follow(attempt.name, on=True)
            elif attempt is not None:
                del member.attempts[attempt.name]
                member.since = asyncio.get_running_loop().time()
                member.pool.step()
                self._end(attempt, _observation(message["record"], attempt.seen.notes))

    async def _over(self, member: Member) -> None:
        """Wait until the process is gone; what closed its desk and stays is ended."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                async for _ in self._processes.logs(member.name, follow=True):
                    pass

    async def _bury(self, member: Member, refused: str) -> None:
        """The worker is gone. One attempt that it ran alone ended as it did; several ended, and nobody saw how."""
        seen = await self._processes.observe(member.name)
        await self._processes.release(member.name)
        pool = member.pool
        pool.members.pop(member.name, None)
        if not member.met and not member.killed and pool.waiting:  # it would be the same with the next, and for ever
            attempt = pool.waiting.popleft()
            said = refused or (seen.log_tail if seen is not None else "")
            end = Observation(Presence.EXITED, exit_code=126) if refused else seen
            await self._conclude(attempt, end, said.encode())
        own = len(member.attempts) == 1 and not member.killed
        for attempt in list(member.attempts.values()):
            rest = member.peer.rest(self._logs.size(attempt.name)) if member.peer is not None else b""
            await self._conclude(attempt, seen if own else None, rest)
        member.attempts.clear()
        if member.peer is not None:
            member.peer.close()
            member.peer = None
        pool.step()
        if pool.empty:
            self._pools.pop(pool.reuse.key, None)

    async def _conclude(self, attempt: Attempt, seen: Observation | None, printed: bytes) -> None:
        """Say in the attempt's log how it ended, then tell. ``seen``: the worker's end, if it is the attempt's own."""
        if seen is None or seen.presence is not Presence.EXITED:
            say = "lost: the worker that ran it ended"
            tail = await asyncio.to_thread(self._logs.conclude, attempt.name, printed, attempt.secrets, say)
            self._end(attempt, lost(attempt, tail))
            return
        say = f"exit code {seen.exit_code}" if seen.signal is None else f"ended by signal {seen.signal}"
        say += " of its worker" + (" (out of memory)" if seen.out_of_memory else "")
        tail = await asyncio.to_thread(self._logs.conclude, attempt.name, printed, attempt.secrets, say)
        started = attempt.seen.started_at or seen.started_at
        self._end(attempt, replace(seen, started_at=started, log_tail=tail, notes=attempt.seen.notes))

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _with(reuse: Reuse, resources: Resources) -> Reuse:
    """What the workers of a pool may use is part of what they share."""
    return replace(reuse, key=_key(reuse.key, resources))


@lru_cache
def _key(key: str, resources: Resources) -> str:
    return hashlib.sha256(f"{key} {resources!r}".encode()).hexdigest()[:24]


def _spelled(reuse: Reuse) -> dict[str, Any]:
    return {**asdict(reuse), "own": sorted(reuse.own)}


def _read(policy: Mapping[str, Any]) -> Reuse:
    return Reuse(**{**policy, "own": frozenset(policy["own"])})


def _observation(record: records.Record, notes: tuple[str, ...]) -> Observation:
    return Observation(
        Presence.EXITED,
        started_at=_time(record["started_ns"]),
        ended_at=_time(record["ended_ns"]),
        exit_code=record.get("exit_code"),
        signal=record.get("signal"),
        log_tail=record["tail"],
        notes=notes,
    )


def _time(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(nanoseconds / 1_000_000_000, UTC)
