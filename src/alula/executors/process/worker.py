"""An idle worker: a fork of a warm parent that has done ahead what it can, waits for one attempt, and becomes it."""

import asyncio
import atexit
import os
import random
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
import types
from contextlib import suppress
from typing import Any, NoReturn

from alula.executors.process import channel, child, ledger, preload
from alula.executors.process.ledger import Ledger
from alula.executors.process.runtime import Runtime

_PR_SET_NAME = 15
SHOWN = b"alula: idle worker"  # for those who look at a list of processes
IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # by a parent: it ends when the launcher does
_OURS = tuple(name for name in sys.modules if name.partition(".")[0] == "alula")


def live(sock: socket.socket, account: int, runtime: Runtime, launcher: int) -> NoReturn:
    """Wait on a socket for what to do, and do it. Never returns.

    The first line says that whoever forked this is gone, so that the launcher is its parent now; the second is the
    attempt, with a descriptor for its output.
    """
    code = 70
    try:
        child.calm(IGNORED)
        child.detach(keep=(sock.fileno(), account))
        child.shown_arguments.write(SHOWN)
        book = Ledger(account)
        os.close(account)
        _freshen()
        start, output = _wait(sock, launcher)
        book.note(ledger.DOWNLOAD if start.bundle is not None else ledger.BOOT)
        child.become(start, output)
        book.note(ledger.BOOT)
        _adopt(start, runtime)
        _keep_books(book)
        _forget_ourselves()
        code = _main()
    except BaseException:  # nothing may unwind into the parent's loop
        with suppress(BaseException):
            traceback.print_exc()
    finally:
        os._exit(code)


def _wait(sock: socket.socket, launcher: int) -> tuple[child.Start, int]:
    """What to do. Without the launcher there is nothing to do any more."""
    lines = channel.Channel(sock)
    sock.setblocking(True)
    while True:
        for message in lines.receive():
            if "adopted" in message:
                child.end_with(launcher)
                continue
            output = lines.take_descriptor()
            sock.close()
            return child.Start(**message["start"]), output
        if lines.gone:
            os._exit(0)


def _freshen() -> None:
    """The parts the interpreter keeps: random state, signals, the SDK's thread."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    random.seed()
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()
    tempfile.tempdir = None
    background = preload.syncify()
    if background is not None:
        background.loop = asyncio.new_event_loop()
        background.thread = threading.Thread(name="flyte_syncify", target=background._run, daemon=True)  # noqa: SLF001
        background.thread.start()


def _adopt(start: child.Start, runtime: Runtime) -> None:
    """What depends on the attempt: arguments, path, clocks, the main module."""
    sys.argv = [runtime.script, *start.command[1:]]
    sys.orig_argv = [sys.executable, *sys.argv]
    child.shown_arguments.write("\0".join(sys.orig_argv).encode("utf-8", "surrogateescape"))
    child.libc.prctl(_PR_SET_NAME, os.path.basename(runtime.script).encode())
    sys.path.insert(0, os.path.dirname(runtime.script))
    main = types.ModuleType("__main__")
    main.__dict__.update(__file__=runtime.script, __builtins__=__builtins__)
    sys.modules["__main__"] = main
    time.tzset()
    if "fsspec.config" in sys.modules and any(name.startswith("FSSPEC_") for name in start.env):
        config = sys.modules["fsspec.config"]
        config.set_conf_env(config.conf)


def _keep_books(book: Ledger) -> None:
    with suppress(KeyError, AttributeError):
        book.listen(sys.modules["flyte._metrics"].Stopwatch)


def _forget_ourselves() -> None:
    """An attempt that imports `alula` gets its own environment's, or none."""
    for name in _OURS:
        sys.modules.pop(name, None)


def _main() -> int:
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
