"""What happens between the fork and the first line of the task: the process becomes one that looks freshly started."""

import asyncio
import atexit
import ctypes
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
import types
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

from alula.executors.process import preload, tree

_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
_HANDLED = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}  # a shell's background jobs ignore some

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Start:
    """One attempt, as the launcher hands it to its child."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    directory: str  # the working directory; it exists
    executable: str  # what to execute when it is not forked
    bundle: Mapping[str, str] | None = None  # a code bundle to copy in: `tree`, `archive`, `marker`


def run(start: Start, output: int, runtime: preload.Runtime | None) -> NoReturn:
    """Be the attempt. With ``runtime`` it runs in this very interpreter, else by exec. Never returns."""
    code = 70
    try:
        _become(start, output)
        if runtime is None:
            _execute(start)
        _refresh(start, runtime)
        code = _main(runtime)
    except BaseException:  # nothing may unwind into the launcher's loop
        with suppress(BaseException):
            traceback.print_exc()
    finally:
        os._exit(code)


def _become(start: Start, output: int) -> None:
    """The parts the kernel keeps: session, signals, descriptors, directory, environment."""
    launcher = os.getppid()
    os.setsid()
    if tree.LINUX:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != launcher:
            os._exit(70)  # the launcher died before the line above
        _prefer_to_lose_this()
    signal.set_wakeup_fd(-1)
    for number in _HANDLED:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    os.umask(0o022)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    os.chdir(start.directory)
    os.environ.clear()
    os.environ.update(start.env)
    _shown_mark.write(start.env.get(tree.MARK, "").encode())
    if start.bundle is not None:
        _populate(start.bundle)


def _prefer_to_lose_this() -> None:
    """When memory runs out, the kernel is to choose an attempt and not the server."""
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("500")


@dataclass(slots=True)
class _Shown:
    """A piece of the process's memory that /proc shows to others: its arguments, or the mark in its environment."""

    address: int = 0
    room: int = 0

    def write(self, text: bytes) -> None:
        if self.address:
            ctypes.memmove(self.address, text[: self.room - 1].ljust(self.room, b"\0"), self.room)


_shown_arguments, _shown_mark = _Shown(), _Shown()


def locate_shown() -> None:
    """Find what /proc shows of the launcher. Called once, before the first fork.

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
            _shown_arguments.address, _shown_arguments.room = first, last - first
            _shown_mark.address, _shown_mark.room = environment + at, block.index(b"\0", at + 1) - at


def _populate(bundle: Mapping[str, str]) -> None:
    """Copy an unpacked code bundle into the working directory. The marker comes last: without it `a0` does its own."""
    with suppress(OSError, shutil.Error):
        shutil.copytree(bundle["tree"], ".", dirs_exist_ok=True, symlinks=True)
        shutil.copyfile(bundle["archive"], os.path.basename(bundle["name"]))
        with open(bundle["marker"], "xb"):
            pass


def _execute(start: Start) -> NoReturn:
    try:
        os.execve(start.executable, list(start.command), dict(start.env))  # noqa: S606
    except OSError as error:
        os.write(2, f"alula: cannot execute {start.executable}: {error.strerror}\n".encode())
        os._exit(127 if isinstance(error, FileNotFoundError) else 126)


def _refresh(start: Start, runtime: preload.Runtime) -> None:
    """The parts the interpreter keeps: arguments, path, random state, clocks, the main module, the SDK's thread."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # as the interpreter does at its start
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    sys.argv = [runtime.script, *start.command[1:]]
    sys.orig_argv = [sys.executable, *sys.argv]
    _shown_arguments.write("\0".join(sys.orig_argv).encode("utf-8", "surrogateescape"))
    _libc.prctl(_PR_SET_NAME, os.path.basename(runtime.script).encode())
    sys.path.insert(0, os.path.dirname(runtime.script))
    main = types.ModuleType("__main__")
    main.__dict__.update(__file__=runtime.script, __builtins__=__builtins__)
    sys.modules["__main__"] = main
    random.seed()
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()
    tempfile.tempdir = None
    time.tzset()
    if "fsspec.config" in sys.modules and any(name.startswith("FSSPEC_") for name in start.env):
        config = sys.modules["fsspec.config"]
        config.set_conf_env(config.conf)
    background = preload.syncify()
    if background is not None:
        background.loop = asyncio.new_event_loop()
        background.thread = threading.Thread(name="flyte_syncify", target=background._run, daemon=True)  # noqa: SLF001
        background.thread.start()


def _main(runtime: preload.Runtime) -> int:
    """Run the console script's one line and end as the interpreter would: its exit codes, its exit handlers."""
    code = 0
    try:
        sys.modules["flyte._bin.runtime"].main()
    except SystemExit as exit_:
        code = _exit_code(exit_.code)
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    except BaseException as error:
        if error.__traceback__ is not None:
            error.__traceback__ = error.__traceback__.tb_next
        sys.excepthook(type(error), error, error.__traceback__)
        code = 1
    with suppress(BaseException):
        threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - waits for the user's threads
    with suppress(BaseException):
        atexit._run_exitfuncs()  # noqa: SLF001
    for stream in (sys.stdout, sys.stderr):
        with suppress(BaseException):
            stream.flush()
    return code


def _exit_code(code: Any) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    print(code, file=sys.stderr)  # noqa: T201
    return 1
