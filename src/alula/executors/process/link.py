"""The server's connection to one launcher and its recorder."""

import asyncio
import fcntl
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Message = dict[str, Any]

_LINE = 1 << 20  # bytes; what the launcher and the recorder say is far shorter


@dataclass(frozen=True, slots=True)
class Plan:
    """How to start a launcher."""

    python: Path
    home: Path
    script: str
    mode: str
    log_cap: int
    env: Mapping[str, str]
    lock: int  # descriptor; the launcher and the recorder keep it open as long as they live


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
    """A running launcher. What it and its recorder say comes in two streams, which end when they die."""

    process: asyncio.subprocess.Process
    launcher: Stream
    recorder: Stream

    @classmethod
    async def open(cls, plan: Plan) -> "Link":
        ours, theirs = socket.socketpair()
        our_recorder, their_recorder = socket.socketpair()
        code = "import sys; sys.path.pop(0); from alula.executors.process.launcher import main; main()"
        numbers = [str(theirs.fileno()), str(their_recorder.fileno()), str(plan.lock)]
        with theirs, their_recorder, (plan.home / "launcher.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                plan.python, "-c", code, plan.home, *numbers, plan.mode, plan.script, str(plan.log_cap),
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, cwd=plan.home, env=plan.env,
                pass_fds=(theirs.fileno(), their_recorder.fileno(), plan.lock), start_new_session=True,
            )  # fmt: skip
        return cls(process, await Stream.over(ours), await Stream.over(our_recorder))

    def close(self) -> None:
        self.launcher.close()
        self.recorder.close()


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
