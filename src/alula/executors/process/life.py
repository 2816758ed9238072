"""The life of a home: one server at a time, its launchers one after the other, and what an earlier life left behind."""

import asyncio
import logging
import os
import signal
import time
import uuid
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from alula.core.errors import LaunchRefused, Unavailable
from alula.core.launch import Launch
from alula.executors.process import records, tree
from alula.executors.process.environment import Environment
from alula.executors.process.link import Link, Message, Plan, Stream, take_lock

_PATIENCE = 15.0  # seconds an earlier life may take to end
_LAST_WORDS = 10.0  # seconds the recorder may take after the launcher's death
_STEADY = 5.0  # seconds a launcher must live for its successor to be started at once
_PAUSE = 1.0  # seconds before a successor otherwise
_MARK_ROOM = 200  # bytes of the longest attempt name


_log = logging.getLogger(__name__)


class Life:
    """Owns the home's lock and its launcher."""

    def __init__(self, home: records.Home, environment: Environment, mode: str, log_cap: int) -> None:
        self._home, self._environment = home, environment
        self._mode = mode if tree.LINUX else "spawn"
        self._log_cap = log_cap
        self._lock = -1
        self._id = ""
        self._link: Link | None = None
        self._linked = asyncio.Event()
        self._closing = asyncio.Event()
        self._followed: set[str] = set()

    async def begin(self) -> list[records.Record]:
        """Take the home over; returns a record of every attempt in it: marker and end together.

        Raises:
            Unavailable: another server uses this home, or it cannot be written.
        """
        try:
            found = await asyncio.to_thread(self._take_over)
            await self._open()
        except OSError as error:
            raise Unavailable(f"{self._home.path} cannot be used: {error.strerror}") from error
        return found

    async def end(self) -> None:
        """Let the launcher end; `messages` ends when it has."""
        self._closing.set()
        if self._link is not None:
            self._link.launcher.close()

    async def messages(self) -> AsyncIterator[Message]:
        """What the launchers and recorders say; ``{"died": ...}`` between two of them: nothing of the first is left."""
        while (link := self._link) is not None:
            born = time.monotonic()
            async for message in self._said(link):
                yield message
            self._link = None
            self._linked.clear()
            yield {"died": await link.process.wait()}
            if self._closing.is_set():
                break
            if time.monotonic() - born < _STEADY:
                await self._pause()
            await self._reopen()
        os.close(self._lock)

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
        if self._home.log(launch.name).exists():
            raise LaunchRefused(f"attempt {launch.name} has run here before: a name is used once")
        folder = self._home.attempt(launch.name)
        try:
            for path in (folder, folder / "work", folder / "tmp"):
                path.mkdir(mode=0o700, exist_ok=True)
            records.create(folder / records.MARKER, {"name": launch.name, "grace": launch.grace, "notes": list(notes)})
            return records.lay(folder / "secrets", launch.files)
        except OSError:
            records.remove(folder)
            raise

    def mark_of(self, name: str) -> dict[str, str]:
        """The variable that marks the processes of an attempt."""
        return {tree.MARK: f"{self._id}/{name}"}

    # Launchers

    async def _open(self) -> None:
        env = {**self._environment.variables(os.environ), **self.mark_of("-" * _MARK_ROOM)}
        script, python = self._environment.script, self._environment.interpreter
        plan = Plan(python, self._home.path, script, self._mode, self._log_cap, env, self._lock)
        self._link = await Link.open(plan)
        for name in self._followed:
            self._link.recorder.send({"follow": name, "on": True})
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
        await link.process.wait()
        await asyncio.to_thread(self._kill_survivors)

    # What an earlier life left

    def _take_over(self) -> list[records.Record]:
        for path in (self._home.path, self._home.attempts, self._home.logs):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._lock = take_lock(self._home.path / "lock", _PATIENCE)
        except BlockingIOError:
            message = f"{self._home.path} is in use by another server; stop it, or name another folder"
            raise Unavailable(message) from None
        self._id = _identity(self._home.path / "id")
        self._kill_survivors()
        return [record for folder in self._home.attempts.iterdir() if (record := _recall(folder)) is not None]

    def _kill_survivors(self) -> None:
        """End every process of this home's attempts, the launcher that held them included."""
        deadline = time.monotonic() + _LAST_WORDS
        left: set[int] = set()
        while time.monotonic() < deadline:
            left |= set(tree.survivors(self._id, self._leaders()))
            left = {pid for pid in left if tree.alive(pid)}
            if not left:
                return
            tree.send(left, signal.SIGKILL)
            time.sleep(0.01)  # they are nobody's children of ours: their end can only be looked for

    def _leaders(self) -> Iterable[tuple[int, int]]:
        boot = tree.boot()
        for folder in self._home.attempts.iterdir():
            process = records.read(folder / records.PROCESS)
            if process is not None and process["boot"] == boot and not (folder / records.END).exists():
                yield process["pid"], process["started"]


async def _copy(stream: Stream, said: asyncio.Queue[Message | None]) -> None:
    async for message in stream.messages():
        said.put_nowait(message)
    said.put_nowait(None)


def _identity(path: Path) -> str:
    if not path.exists():
        path.write_text(uuid.uuid4().hex)
    return path.read_text().strip()


def _recall(folder: Path) -> records.Record | None:
    """An attempt of an earlier life. Without an end it is lost; that is written down, so that it stays so."""
    marker = records.read(folder / records.MARKER)
    if marker is None:  # the crash came before the marker was whole, and so before the process
        records.remove(folder)
        return None
    end = records.read(folder / records.END)
    if end is None:
        end = {"lost": "the server ended"}
        with suppress(OSError):  # a full disk: the next life finds it lost again
            records.replace(folder / records.END, end)
    return {**marker, **end}
