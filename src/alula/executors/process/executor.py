"""The process executor: attempts as local processes of this machine."""

import asyncio
import logging
import os
import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Self

from alula.base.news import News
from alula.core.errors import LaunchRefused, Unavailable
from alula.core.launch import Launch, LogLine, Observation, Presence
from alula.executors.process import follow as _follow
from alula.executors.process import limits, records
from alula.executors.process.bundles import Bundles, Fetch
from alula.executors.process.environment import Environment
from alula.executors.process.environments.finder import Environments, Found
from alula.executors.process.isolation import check, wrap
from alula.executors.process.life import Habits, Life
from alula.executors.process.link import Message
from alula.executors.process.machine import visible
from alula.executors.process.measurements import Measurements
from alula.executors.process.segments import Segments

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,199}")

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Attempt:
    """``placed``: its process exists, or it is over; ``over``: it is over. ``placing`` is the submit that made it."""

    name: str
    seen: Observation
    grace: float = 0.0
    sent: bool = False  # the launcher was asked to start it
    placing: asyncio.Task[None] | None = None
    building: asyncio.Task[None] | None = None  # its environment has to be built before it can be started
    placed: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)


class ProcessExecutor:
    """Runs attempts as processes of this machine. Use it with ``async with``; one life of it per ``home`` at a time.

    When it stops, its attempts are ended, and LOST for the next life. When it is killed they go on, and the next life
    finds them running, or how they have ended.

    Args:
        home: a private folder; everything is kept below it.
        mode: ``fork`` forks the task runtime from a process that has it loaded; ``spawn`` starts each attempt cold.
        fetch: reads a code bundle by URI, or returns ``None`` for one that the attempt must download itself.
        hidden: keep attempts apart from the machine by namespaces, and hide this folder, the server's, from them.
        environments: finds those of images; without, everything runs in the server's own.
        habits: of the launcher.
    """

    def __init__(
        self,
        home: Path,
        *,
        mode: Literal["fork", "spawn"] = "fork",
        fetch: Fetch | None = None,
        hidden: Path | None = None,
        environments: Environments | None = None,
        habits: Habits | None = None,
    ) -> None:
        self._home = records.Home(home.absolute())
        self._segments = Segments(self._home)
        self._hidden = hidden
        self._environment = Environment.own()
        self._environments = environments
        self._bundles = Bundles(self._home.bundles, self._environment, fetch)
        self._life = Life(self._home, self._environment, mode, habits or Habits())
        self._attempts: dict[str, _Attempt] = {}
        self._news = News()
        self._growth = _follow.Growth()
        self._following: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Take the home over from an earlier life, with what goes on of it; or else start a launcher.

        Raises:
            Unavailable: another server uses this home, or the isolation is not to be had.
        """
        if self._hidden is not None:
            await asyncio.to_thread(check)
        for record in await self._life.begin():
            self._attempts[record["name"]] = _recalled(record)
        await asyncio.to_thread(self._bundles.prune)
        self._following = asyncio.create_task(self._follow_life(), name="process-executor")
        return self

    async def __aexit__(self, *_: object) -> None:
        for attempt in self._attempts.values():
            for task in (attempt.placing, attempt.building):
                if task is not None and not attempt.sent:
                    task.cancel()
        await self._life.end()
        if self._following is not None:
            await self._following
        for attempt in self._attempts.values():
            if not attempt.over.is_set():
                self._ended(attempt.name, {"lost": "the server ended"})

    # The promise

    async def submit(self, launch: Launch) -> None:
        """See `Executor.submit`. Returns when the process exists, or its end is known.

        Raises:
            LaunchRefused: the name was used before, or no process can have such a command or environment.
            Unavailable: the attempt could not be written down; nothing was started.
        """
        attempt = self._attempts.get(launch.name)
        if attempt is None:
            _check(launch)
            attempt = _Attempt(launch.name, Observation(Presence.STARTING), launch.grace)
            self._attempts[launch.name] = attempt
            attempt.placing = asyncio.create_task(self._place(attempt, launch))
        if attempt.placing is None:
            return
        try:
            await asyncio.shield(attempt.placing)  # it goes on if this caller is cancelled
        except asyncio.CancelledError:
            if attempt.placing.cancelled():
                raise Unavailable("the process executor is stopping; the attempt was not started") from None
            raise

    async def observe(self, name: str) -> Observation | None:
        """See `Executor.observe`."""
        attempt = self._attempts.get(name)
        return None if attempt is None else attempt.seen

    async def release(self, name: str) -> None:
        """See `Executor.release`."""
        attempt = self._attempts.get(name)
        if attempt is None:
            return
        if attempt.building is not None and not attempt.sent:
            attempt.building.cancel()
            attempt.placed.set()
            attempt.over.set()
        await attempt.placed.wait()
        if not attempt.over.is_set():
            self._life.send({"kill": name, "grace": attempt.grace})
            await attempt.over.wait()
        await asyncio.to_thread(records.remove, self._home.attempt(name))
        if self._attempts.get(name) is attempt:
            del self._attempts[name]

    async def forget_log(self, name: str) -> bool:
        """See `Executor.forget_log`."""
        if not _NAME.fullmatch(name) or name in self._attempts:
            return False
        await Measurements(self._home.path, "").forget(name)
        return await asyncio.to_thread(self._segments.remove, name)

    async def logs(self, name: str, *, follow: bool) -> AsyncIterator[list[LogLine]]:
        """See `Executor.logs`."""
        if not _NAME.fullmatch(name):
            return
        attempt, file = self._attempts.get(name), _follow.LogFile(self._segments, name)
        if not follow or attempt is None:
            async for lines in _follow.read(file):
                yield lines
            return
        with self._growth.watch(name, self._life.follow) as grown:
            async for lines in _follow.follow(file, grown, attempt.over):
                yield lines

    def changes(self) -> AsyncIterator[str]:
        """See `Executor.changes`. For one consumer."""
        return self._news.names()

    async def names(self) -> list[str]:
        """See `Executor.names`."""
        return list(self._attempts)

    # What happens behind it

    async def _place(self, attempt: _Attempt, launch: Launch) -> None:
        """Write the attempt down, then have it started. Only what was never written down is forgotten."""
        directory = self._home.attempt(launch.name)
        try:
            found = await self._ready(launch, directory)
            note = f"building the environment of image {launch.image}" if found is None else found.note
            attempt.seen = replace(attempt.seen, notes=(*(launch.notes or (note,)), *limits.notes(launch.resources)))
            secrets = await asyncio.to_thread(self._life.mark, launch, attempt.seen.notes)
        except (OSError, LaunchRefused) as error:
            del self._attempts[attempt.name]
            attempt.placed.set()
            if isinstance(error, LaunchRefused):
                raise
            raise Unavailable(
                f"attempt {launch.name} cannot be written down in {self._home.path}: {error.strerror}; "
                "make room there, or give the executor another folder"
            ) from error
        if found is not None:
            await self._start(attempt, launch, found.environment, secrets)
        else:
            attempt.building = asyncio.create_task(self._start_later(attempt, launch, secrets))

    async def _ready(self, launch: Launch, directory: Path) -> Found | None:
        if self._environments is None:
            return Found(self._environment, self._environment.note(launch.image))
        return await self._environments.ready(launch.image, directory)

    async def _start_later(self, attempt: _Attempt, launch: Launch, secrets: Mapping[str, str]) -> None:
        """Start an attempt once its environment is built; without one it is over."""
        assert self._environments is not None, "something has to be built"
        directory = self._home.attempt(launch.name)
        self._news.tell(attempt.name)
        try:
            found = await self._environments.made(launch.image, directory)
        except (LaunchRefused, OSError) as error:
            await self._refuse(attempt, str(error))
            return
        attempt.seen = replace(attempt.seen, notes=(*attempt.seen.notes, found.note))
        await self._start(attempt, launch, found.environment, secrets)

    async def _refuse(self, attempt: _Attempt, why: str) -> None:
        """An attempt that was written down, and cannot be started."""
        record = {"refused": why}
        with suppress(OSError):  # without it the next life finds it lost, and tries again
            await asyncio.to_thread(records.replace, self._home.attempt(attempt.name) / records.END, record)
        self._ended(attempt.name, record)

    async def _start(
        self, attempt: _Attempt, launch: Launch, environment: Environment, secrets: Mapping[str, str]
    ) -> None:
        bundle = await self._bundles.prepare(launch.command)
        directory = self._home.attempt(launch.name)
        try:
            if environment.root is not None:
                await asyncio.to_thread(environment.lay, directory / "work")
        except OSError as error:
            await self._refuse(attempt, f"the files of image {launch.image} cannot be copied: {error}")
            return
        given = self._environments.handed(launch) if self._environments is not None else {}
        variables = environment.variables(os.environ) | given
        env = {**variables, "TMPDIR": str(directory / "tmp"), **launch.env, **visible(launch.devices), **secrets}
        message = {
            "start": launch.name,
            "command": list(launch.command) if given else self._apart(launch.command, directory, environment),
            "env": {**env, **self._life.mark_of(launch.name)},
            "directory": str(directory),
            "work": str(directory / "work"),
            "bundle": bundle,
            "warm": environment.warm(variables),
            "asked": time.monotonic_ns(),
            "secrets": launch.secrets,
            "limits": limits.asked(launch.resources, launch.devices),
        }
        await self._life.linked()
        attempt.sent = True  # and sent it is: nothing else runs between these two lines
        self._life.send(message)
        await attempt.placed.wait()

    def _apart(self, command: Sequence[str], directory: Path, environment: Environment) -> list[str]:
        if self._hidden is None:
            return list(command)
        return wrap(command, self._hidden, directory, environment.needed)

    async def _follow_life(self) -> None:
        async for message in self._life.messages():
            if "grew" in message:
                self._growth.grew(message["grew"])
            elif "started" in message:
                self._started(message)
            elif "ended" in message:
                self._ended(message["ended"], message["record"])
            elif "died" in message:
                await self._died()
            else:
                _log.info("launcher ready: %s", message)

    def _started(self, message: Message) -> None:
        attempt = self._attempts.get(message["started"])
        if attempt is not None and not attempt.over.is_set():
            attempt.seen = replace(attempt.seen, presence=Presence.RUNNING, started_at=_time(message["at"]))
            attempt.placed.set()
            self._news.tell(attempt.name)

    def _ended(self, name: str, record: records.Record) -> None:
        attempt = self._attempts.get(name)
        if attempt is None:
            return
        attempt.seen = _observation(record, attempt.seen.notes)
        attempt.placed.set()
        attempt.over.set()
        self._growth.grew(name)
        self._news.tell(name)

    async def _died(self) -> None:
        """The launcher is gone, and all it held: what has no end by now is lost."""
        for attempt in list(self._attempts.values()):
            if attempt.sent and not attempt.over.is_set():
                record = {"lost": "the launcher ended", "started_ns": _nanoseconds(attempt.seen.started_at)}
                with suppress(OSError):  # without it the next life finds the attempt lost, too
                    await asyncio.to_thread(records.replace, self._home.attempt(attempt.name) / records.END, record)
                self._ended(attempt.name, record)


def _check(launch: Launch) -> None:
    """What no process can be."""
    if not _NAME.fullmatch(launch.name):
        raise LaunchRefused(f"attempt name {launch.name!r} is not of [a-z0-9.-], 1 to 200 characters")
    if not launch.command or not launch.command[0]:
        raise LaunchRefused("the task has no command: give its container a command or args")
    for text in (*launch.command, *launch.env, *launch.env.values()):
        if "\0" in text:
            raise LaunchRefused("a command or environment variable contains a NUL character")
    for name in launch.env:
        if not name or "=" in name:
            raise LaunchRefused(f"{name!r} cannot be the name of an environment variable")


def _recalled(record: records.Record) -> _Attempt:
    """An attempt of an earlier life, which is over, or is held by the launcher."""
    attempt = _Attempt(record["name"], Observation(Presence.STARTING), record["grace"], sent=True)
    notes, began = tuple(record["notes"]), record.get("held")
    if began is None:
        attempt.seen = _observation(record, notes)
        attempt.over.set()
    elif began:
        attempt.seen = Observation(Presence.RUNNING, _time(began), notes=notes)
    else:
        attempt.seen = replace(attempt.seen, notes=notes)
    attempt.seen = replace(attempt.seen, devices=tuple(record.get("devices", ())))
    if began != 0:
        attempt.placed.set()
    return attempt


def _observation(record: records.Record, notes: tuple[str, ...]) -> Observation:
    return Observation(
        Presence.LOST if "lost" in record else Presence.EXITED,
        started_at=_time(record.get("started_ns")),
        ended_at=_time(record.get("ended_ns")),
        exit_code=None if "lost" in record else record.get("exit_code"),
        signal=None if "lost" in record else record.get("signal"),
        out_of_memory=record.get("out_of_memory", False),
        unserved=record.get("unserved", False),
        log_tail=record.get("tail", ""),
        notes=notes,
        timings={step: spent / 1_000_000_000 for step, spent in record.get("timings_ns", {}).items()},
        refused=record.get("refused", ""),
        exceeded=record.get("exceeded", ""),
    )


def _time(nanoseconds: int | None) -> datetime | None:
    return None if nanoseconds is None else datetime.fromtimestamp(nanoseconds / 1_000_000_000, UTC)


def _nanoseconds(at: datetime | None) -> int | None:
    return None if at is None else int(at.timestamp() * 1_000_000_000)
