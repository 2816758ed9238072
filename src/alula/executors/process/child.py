"""What happens between the fork and the first line of a command: the process becomes one that looks freshly started.

The launcher uses it for cold starts, and every worker of a warm parent. Standard library only, and little of it.
"""

import ctypes
import os
import shutil
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

from alula.executors.process import tree

_PR_SET_PDEATHSIG = 1
_HANDLED = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}  # a shell's background jobs ignore some

libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Start:
    """One attempt, as the launcher hands it to its process."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    directory: str  # the working directory; it exists
    bundle: Mapping[str, str] | None = None  # a code bundle to copy in: `tree`, `archive`, `marker`


def execute(start: Start, executable: str, output: int, enter: Callable[[], None]) -> NoReturn:
    """Be the attempt, in a fork of the launcher: execute its command. ``enter`` holds it to its limits."""
    launcher = os.getppid()
    try:
        calm()
        detach(keep=(output,))
        if tree.LINUX:
            end_with(launcher)
        enter()
        become(start, output)
        os.execve(executable, list(start.command), dict(start.env))  # noqa: S606
    except OSError as error:
        os.write(2, f"alula: cannot execute {executable}: {error.strerror}\n".encode())
        os._exit(127 if isinstance(error, FileNotFoundError) else 126)
    finally:
        os._exit(70)  # nothing may unwind into the launcher's loop


def calm(numbers: Iterable[int] = _HANDLED) -> None:
    """Have signals do what they do by default; none is blocked."""
    signal.set_wakeup_fd(-1)
    for number in numbers:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def detach(keep: Iterable[int]) -> None:
    """Session, limits, descriptors: what can be done before it is known what to run."""
    os.setsid()
    if tree.LINUX:
        _prefer_to_lose_this()
    os.umask(0o022)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    first = 3
    for descriptor in sorted(keep):
        os.closerange(first, descriptor)
        first = descriptor + 1
    os.closerange(first, os.sysconf("SC_OPEN_MAX"))


def end_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies."""
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(70)  # it died before the line above


def become(start: Start, output: int) -> None:
    """Output, directory, environment, code. ``output`` is closed."""
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    os.chdir(start.directory)
    os.environ.clear()
    os.environ.update(start.env)
    _mark.write(start.env.get(tree.MARK, "").encode())
    if start.bundle is not None:
        _populate(start.bundle)


def _prefer_to_lose_this() -> None:
    """When memory runs out, the kernel is to choose an attempt and not the server."""
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("500")


def _populate(bundle: Mapping[str, str]) -> None:
    """Copy an unpacked code bundle into the working directory. The marker comes last: without it `a0` does its own."""
    with suppress(OSError, shutil.Error):
        shutil.copytree(bundle["tree"], ".", dirs_exist_ok=True, symlinks=True)
        shutil.copyfile(bundle["archive"], os.path.basename(bundle["name"]))
        with open(bundle["marker"], "xb"):
            pass


@dataclass(slots=True)
class Shown:
    """A piece of the process's memory that /proc shows to others: its arguments, or the mark in its environment."""

    address: int = 0
    room: int = 0

    def write(self, text: bytes) -> None:
        if self.address:
            ctypes.memmove(self.address, text[: self.room - 1].ljust(self.room, b"\0"), self.room)


shown_arguments, _mark = Shown(), Shown()


def locate_shown() -> None:
    """Find what /proc shows of this process. Called once, before the first fork.

    A fork without an exec shows its parent's. Its mark is written over it, by which it, and whatever it forks in its
    turn, is found; so are its arguments, for those who look at a list of processes.
    """
    with suppress(OSError, ValueError, IndexError):
        with open("/proc/self/stat", "rb") as file:
            first, last, environment = map(int, file.read().rpartition(b")")[2].split()[45:48])
        with open("/proc/self/environ", "rb") as file:
            block = b"\0" + file.read()
        at = block.index(b"\0" + tree.MARK.encode() + b"=") + len(tree.MARK) + 1
        if first and environment:
            shown_arguments.address, shown_arguments.room = first, last - first
            _mark.address, _mark.room = environment + at, block.index(b"\0", at + 1) - at
