"""The server's connection to one launcher and its recorder, also to one that an earlier server has started."""

import asyncio
import fcntl
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alula.executors.process import tree
from alula.executors.process.peers import PROTOCOL, SOCKET

Message = dict[str, Any]

_LINE = 1 << 24  # bytes; the launcher names all it holds at once
_BACKLOG = 16
_SHAKE = 10.0  # seconds until a launcher must have taken the connection; the kernel does that for it


@dataclass(frozen=True, slots=True)
class Plan:
    """How to start a launcher."""

    python: Path
    home: Path
    script: str
    mode: str
    log_cap: int
    env: Mapping[str, str]


class Stream:
    """JSON lines, both ways."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def over(cls, sock: socket.socket) -> "Stream":
        return cls(*await asyncio.open_unix_connection(sock=sock, limit=_LINE))

    def send(self, message: Message) -> None:
        """Queue a message. To a dead peer it is lost: its death is seen by who reads."""
        if not self._writer.is_closing():
            self._writer.write(json.dumps(message).encode() + b"\n")

    async def messages(self) -> AsyncIterator[Message]:
        """What the peer says, until it is gone."""
        try:
            while line := await self._reader.readline():
                yield json.loads(line)
        except (ConnectionError, ValueError):  # ValueError: a last line that was cut by its death
            return

    def close(self) -> None:
        self._writer.close()


@dataclass(frozen=True, slots=True)
class Link:
    """A running launcher. What it and its recorder say comes in two streams, which end when they die.

    ``process`` is there if this server has started it.
    """

    launcher: Stream
    recorder: Stream
    process: asyncio.subprocess.Process | None = None

    @classmethod
    async def open(cls, home: Path, *, outlive: bool, process: asyncio.subprocess.Process | None = None) -> "Link":
        """Connect to the launcher of a home.

        Args:
            outlive: whether it is to go on when this server dies.

        Raises:
            OSError: there is none.
        """
        launcher, recorder = await asyncio.to_thread(_connect, home, outlive)
        return cls(await Stream.over(launcher), await Stream.over(recorder), process)

    async def held(self) -> Mapping[str, int] | None:
        """What a launcher that was there already holds: names, and when they were started (0: not yet).

        Call it first. Once it returns, the end of whatever has ended before is on disk. ``None``: it has ended, or it
        is of an alula that talks otherwise.
        """
        async for message in self.recorder.messages():
            return message["held"] if message.get("protocol") == PROTOCOL else None
        return None

    async def gone(self) -> None:
        """Returns when the process that this server has started is no more."""
        if self.process is not None:
            await self.process.wait()

    def close(self) -> None:
        self.launcher.close()
        self.recorder.close()


async def start(plan: Plan, lock: int, *, outlive: bool) -> Link:
    """Start a launcher. It and its recorder keep ``lock``, a descriptor, open as long as they live."""
    code = "import sys; sys.path.pop(0); from alula.executors.process.launcher import main; main()"
    with _listener(plan.home) as listener, (plan.home / "launcher.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            plan.python, "-c", code, plan.home, str(listener.fileno()), str(lock), plan.mode, plan.script,
            str(plan.log_cap), stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, cwd=plan.home, env=plan.env,
            pass_fds=(listener.fileno(), lock), start_new_session=True,
        )  # fmt: skip
    return await Link.open(plan.home, outlive=outlive, process=process)


def _connect(home: Path, outlive: bool) -> tuple[socket.socket, socket.socket]:
    """A connection to the launcher, and one to its recorder: to that the launcher hands the other end."""
    ours, theirs = socket.socketpair()
    launcher = socket.socket(socket.AF_UNIX)
    try:
        with theirs, _near(home) as folder:
            launcher.settimeout(_SHAKE)
            launcher.connect(f"{folder}/{SOCKET}")
            hello = json.dumps({"hello": PROTOCOL, "outlive": outlive}).encode() + b"\n"
            socket.send_fds(launcher, [hello], [theirs.fileno()])
    except OSError:
        ours.close()
        launcher.close()
        raise
    return launcher, ours


@contextmanager
def _listener(home: Path) -> Iterator[socket.socket]:
    """Where servers will come. It is listened at before the launcher is there: none comes too early."""
    with suppress(FileNotFoundError):  # of a launcher that crashed
        (home / SOCKET).unlink()
    with socket.socket(socket.AF_UNIX) as listener, _near(home) as folder:
        listener.bind(f"{folder}/{SOCKET}")
        (home / SOCKET).chmod(0o600)
        listener.listen(_BACKLOG)
        yield listener


@contextmanager
def _near(folder: Path) -> Iterator[str]:
    """A short name for a folder: the path of a socket has 108 bytes."""
    if not tree.LINUX:
        yield str(folder)
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def take_lock(path: Path, patience: float) -> int:
    """Lock the home for this life; returns the descriptor that holds the lock. Blocks: call it in a thread.

    Raises:
        BlockingIOError: another life held it for all of ``patience`` seconds.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise
            time.sleep(0.02)  # a flock has no timeout of its own
        else:
            return descriptor
