"""The life of a home: one server at a time, its launchers one after the other, and what an earlier life left behind.

A launcher outlives a server that is killed: the next one goes on with it. What that launcher does not hold has an end
on disk, or was never started. If it was killed, too, what has no end is lost.
"""

import asyncio
import logging
import os
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from alula.core.errors import LaunchRefused, Unavailable
from alula.core.launch import Launch
from alula.executors.process import records, remains, tree
from alula.executors.process.environment import Environment
from alula.executors.process.link import Link, Message, Plan, Stream, start, take_lock
from alula.executors.process.peers import SOCKET
from alula.executors.process.segments import Segments

_PATIENCE = 15.0  # seconds an earlier life may take to end
_LAST_WORDS = 10.0  # seconds the recorder may take after the launcher's death
_STEADY = 5.0  # seconds a launcher must live for its successor to be started at once
_PAUSE = 1.0  # seconds before a successor otherwise
_MARK_ROOM = 200  # bytes of the longest attempt name


_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Habits:
    """What a launcher does with attempts.

    ``log_cap``: bytes of an attempt's log on disk; what comes after is dropped, and the log says so. ``outlive``: they
    go on when the server is killed; else they are ended, and LOST.
    """

    log_cap: int = 256 * 1024 * 1024
    outlive: bool = True


class Life:
    """Owns the home's lock and its launcher."""

    def __init__(self, home: records.Home, environment: Environment, mode: str, habits: Habits) -> None:
        self._home, self._environment, self._habits = home, environment, habits
        self._mode = mode if tree.LINUX else "spawn"
        self._lock = -1
        self._id = ""
        self._link: Link | None = None
        self._linked = asyncio.Event()
        self._closing = asyncio.Event()
        self._followed: set[str] = set()

    async def begin(self) -> list[records.Record]:
        """Take the home over; returns a record of every attempt in it: marker and end together, or, of one that an
        earlier server has started and that goes on, marker and ``held``: when it was started, 0 if it was not yet.

        Raises:
            Unavailable: another server uses this home, or it cannot be written.
        """
        try:
            await asyncio.to_thread(self._take_over)
            held = await self._adopt()
            well = held is not None or not (self._home.path / SOCKET).exists()  # one that ended well has removed it
            if held is None:
                await self._open()
            return await asyncio.to_thread(self._recall, held or {}, well)
        except OSError as error:
            self._let_go()
            raise Unavailable(f"{self._home.path} cannot be used: {error.strerror or error}") from error

    async def end(self) -> None:
        """Have the launcher end all it holds, and itself; `messages` ends when it has."""
        self._closing.set()
        if self._link is not None:
            self._link.launcher.send({"close": True})

    async def messages(self) -> AsyncIterator[Message]:
        """What the launchers and recorders say; ``{"died": ...}`` between two of them: nothing of the first is left."""
        while (link := self._link) is not None:
            born = time.monotonic()
            async for message in self._said(link):
                yield message
            self._link = None
            self._linked.clear()
            yield {"died": True}
            if self._closing.is_set():
                break
            if time.monotonic() - born < _STEADY:
                await self._pause()
            await self._reopen()
        self._let_go()

    async def linked(self) -> None:
        """Returns when there is a launcher to talk to."""
        await self._linked.wait()

    def send(self, message: Message) -> None:
        """Tell the launcher. Without one the message is lost: its attempts are over already."""
        if self._link is not None:
            self._link.launcher.send(message)

    def follow(self, name: str, on: bool) -> None:
        """Ask the recorder to tell when a log grows, or to stop."""
        (self._followed.add if on else self._followed.discard)(name)
        if self._link is not None:
            self._link.recorder.send({"follow": name, "on": on})

    def mark(self, launch: Launch, notes: Sequence[str]) -> dict[str, str]:
        """Write the attempt down before it exists; the variables that lead to its files. Blocks: call it in a thread.

        Raises:
            LaunchRefused: the name was used by an attempt that was released.
            OSError: it could not be written; nothing is left.
        """
        if Segments(self._home).find(launch.name, 0) is not None:
            raise LaunchRefused(f"attempt {launch.name} has run here before: a name is used once")
        folder = self._home.attempt(launch.name)
        try:
            for path in (folder, folder / "work", folder / "tmp"):
                path.mkdir(mode=0o700, exist_ok=True)
            told = {"name": launch.name, "grace": launch.grace, "notes": list(notes), "devices": list(launch.devices)}
            records.create(folder / records.MARKER, told)
            return records.lay(folder / "secrets", launch.files)
        except OSError:
            records.remove(folder)
            raise

    def mark_of(self, name: str) -> dict[str, str]:
        """The variable that marks the processes of an attempt."""
        return {tree.MARK: f"{self._id}/{name}"}

    # Launchers

    async def _adopt(self) -> Mapping[str, int] | None:
        """Go on with the launcher of an earlier server; what it holds. ``None``: there is none to go on with."""
        try:
            link = await Link.open(self._home.path, outlive=self._habits.outlive)
        except OSError:
            return None
        held = None
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                held = await link.held()
        if held is None:
            _log.info("the launcher that an earlier server has started ends, or is another alula's: it is replaced")
            link.close()
            return None
        self._use(link)
        _log.info("went on with what an earlier server has started: %d attempts", len(held))
        return held

    async def _open(self) -> None:
        """Start a launcher; of another nothing is left."""
        env = {**self._environment.variables(os.environ), **self.mark_of("-" * _MARK_ROOM)}
        script, python = self._environment.script, self._environment.interpreter
        plan = Plan(python, self._home.path, script, self._mode, self._habits.log_cap, env)
        lock = await asyncio.to_thread(self._bury_the_last)
        try:
            self._use(await start(plan, lock, outlive=self._habits.outlive))
        finally:
            os.close(lock)

    def _use(self, link: Link) -> None:
        self._link = link
        for name in self._followed:
            link.recorder.send({"follow": name, "on": True})
        self._linked.set()

    async def _reopen(self) -> None:
        while not self._closing.is_set():
            try:
                await self._open()
            except OSError as error:  # no descriptors, no memory: it may pass
                _log.error("the launcher cannot be started, will try again: %s", error)
                await self._pause()
            else:
                return

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), _PAUSE)

    async def _said(self, link: Link) -> AsyncIterator[Message]:
        said: asyncio.Queue[Message | None] = asyncio.Queue()
        readers = [asyncio.create_task(_copy(link.launcher, said)), asyncio.create_task(_copy(link.recorder, said))]
        last_words = asyncio.create_task(self._bury(link, readers[0]))
        open_streams = len(readers)
        while open_streams:
            message = await said.get()
            if message is None:
                open_streams -= 1
            else:
                yield message
        await last_words
        link.close()

    async def _bury(self, link: Link, launcher: asyncio.Task[None]) -> None:
        """When the launcher is dead, end what it held; then the recorder finishes the logs and ends, too."""
        await launcher
        await link.gone()
        await asyncio.to_thread(self._kill_survivors)

    # What an earlier life left

    def _take_over(self) -> None:
        for path in (self._home.path, self._home.attempts, self._home.logs):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._lock = take_lock(self._home.path / records.LOCK, _PATIENCE)
        except BlockingIOError:
            message = f"{self._home.path} is in use by another server; stop it, or name another folder"
            raise Unavailable(message) from None
        self._id = _identity(self._home.path / records.ID)

    def _bury_the_last(self) -> int:
        """Returns when nothing is left of the last launcher, its recorder and its attempts, with their lock."""
        lock = self._home.path / records.LAUNCHER_LOCK
        if (self._home.path / SOCKET).exists():  # it was killed; else it is ending by itself
            self._kill_survivors()
        with suppress(BlockingIOError):
            descriptor = take_lock(lock, _PATIENCE)
            self._kill_survivors()
            return descriptor
        self._kill_survivors()
        return take_lock(lock, _LAST_WORDS)

    def _let_go(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _recall(self, held: Mapping[str, int], well: bool) -> list[records.Record]:
        found = (_recall(folder, self._home, held, well) for folder in self._home.attempts.iterdir())
        return [record for record in found if record is not None]

    def _kill_survivors(self) -> None:
        remains.kill(self._home, self._id)


async def _copy(stream: Stream, said: asyncio.Queue[Message | None]) -> None:
    async for message in stream.messages():
        said.put_nowait(message)
    said.put_nowait(None)


def _identity(path: Path) -> str:
    if not path.exists():
        path.write_text(uuid.uuid4().hex)
    return path.read_text().strip()


def _recall(folder: Path, home: records.Home, held: Mapping[str, int], well: bool) -> records.Record | None:
    """An attempt of an earlier life. One that is lost is written down, so that it stays so.

    ``well``: whatever the launcher of that life has started is held, or has an end.
    """
    marker = records.read(folder / records.MARKER)
    if marker is None:  # the crash came before the marker was whole, and so before the process
        records.remove(folder)
        return None
    end = records.read(folder / records.END)
    if end is not None:
        return {**marker, **end}
    if marker["name"] in held:
        return {**marker, "held": held[marker["name"]]}
    begun = (folder / records.PROCESS).exists() or Segments(home).find(marker["name"], 0) is not None
    if well and not begun:  # the launcher was never asked to start it; who wants it will ask again
        records.remove(folder)
        return None
    end = {"lost": "the server ended"}
    with suppress(OSError):  # a full disk: the next life finds it lost again
        records.replace(folder / records.END, end)
    return {**marker, **end}
