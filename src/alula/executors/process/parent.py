"""A warm parent: a program that has the task runtime of one environment loaded, and forks idle workers of it.

``parent <socket> <script> <launcher's pid>``. It runs in the Python of an image's environment, from 3.10 on, in which
there may be no alula: what it imports needs the standard library alone, and the SDK that is there. Workers, and parents
for a bundle, are forked by a process in between that ends at once: they become children of the launcher, a subreaper.
"""

import ctypes
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import NoReturn

from alula.executors.process import child, ledger, preload, worker
from alula.executors.process.channel import Channel, Message
from alula.executors.process.runtime import Runtime

# Without what the interpreter does after a fork: the process in between only forks, and that costs as much as it does.
_plain_fork = ctypes.PyDLL(None).fork

Make = Callable[[socket.socket], NoReturn]


class Parent:
    """The program's state and its loop."""

    def __init__(self, channel: Channel, launcher: int, runtime: Runtime) -> None:
        self._channel, self._launcher, self._runtime = channel, launcher, runtime

    def run(self) -> NoReturn:
        self._channel.send({"ready": self._runtime.tell()})
        while not self._channel.gone:
            writable = [self._channel.socket] if self._channel.pending else []
            select.select([self._channel.socket], writable, [])
            self._channel.flush()
            for message in self._channel.receive():
                if "fork" in message:
                    self._fork_workers(message["fork"])
                else:
                    self._fork_parent(message)
        os._exit(0)

    def _fork_workers(self, count: int) -> None:
        books = [ledger.create() for _ in range(count)]
        makes = [partial(worker.live, account=book, runtime=self._runtime, launcher=self._launcher) for book in books]
        for book, (pid, sock) in zip(books, self._fork(makes), strict=False):
            sock.send(b'{"adopted": true}\n')
            self._channel.send({"idle": pid}, sock.detach())
            self._channel.send({"ledger": pid}, os.dup(book))
        self._channel.send({"forked": count})
        for book in books:
            os.close(book)

    def _fork_parent(self, message: Message) -> None:
        def make(sock: socket.socket) -> NoReturn:
            child.detach(keep=(sock.fileno(),))
            extended(sock, message["modules"], self._launcher, self._runtime)

        for pid, sock in self._fork([make]):
            sock.send(b'{"adopted": true}\n')
            self._channel.send({"parent": message["bundle"], "pid": pid}, sock.detach())

    def _fork(self, makes: Sequence[Make]) -> list[tuple[int, socket.socket]]:
        """Have processes forked; returns their pids, and the other ends of their sockets. Fewer, if there is no room.

        When this returns they have the launcher for a parent.
        """
        pairs = [socket.socketpair() for _ in makes]
        told, tell = os.pipe()
        middle = _plain_fork()
        if middle == 0:
            os.close(told)
            try:
                for make, (_, theirs) in zip(makes, pairs, strict=True):
                    pid = os.fork()
                    if pid == 0:
                        os.close(tell)
                        make(theirs)
                    os.write(tell, b"%d " % pid)
            finally:
                os._exit(0)
        os.close(tell)
        said = b""
        while middle > 0 and (part := os.read(told, 1 << 12)):
            said += part
        os.close(told)
        if middle > 0:
            os.waitpid(middle, 0)
        for _, theirs in pairs:
            theirs.close()
        return [(int(pid), ours) for pid, (ours, _) in zip(said.split(), pairs, strict=False)]


def extended(sock: socket.socket, modules: list[str], launcher: int, runtime: Runtime) -> NoReturn:
    """Be the parent of a bundle: with the modules that its code imports."""
    channel = Channel(sock)
    sock.setblocking(True)
    _set_signals()
    while not channel.gone and not channel.receive():
        pass  # until whoever forked this is gone
    child.end_with(launcher)
    sock.setblocking(False)
    try:
        runtime = preload.extend(runtime, modules)
    except Exception as error:
        channel.send({"failed": f"{type(error).__name__}: {error}"})
        os._exit(1)
    Parent(channel, launcher, runtime).run()


def _set_signals() -> None:
    """As a process has them that starts, so that a worker has little to do; some are its own matter."""
    child.calm()
    for number in (*worker.IGNORED, signal.SIGPIPE, signal.SIGXFSZ):  # the interpreter ignores two at its start
        signal.signal(number, signal.SIG_IGN)


def main() -> None:
    number, script, launcher = sys.argv[1:]
    channel = Channel(socket.socket(fileno=int(number)))
    _set_signals()
    child.end_with(int(launcher))
    child.locate_shown()
    try:
        runtime = preload.load(script)
    except Exception as error:  # any failure of the import: attempts start cold, and say it themselves
        channel.send({"failed": f"{type(error).__name__}: {error}"})
        os._exit(1)
    Parent(channel, int(launcher), runtime).run()
