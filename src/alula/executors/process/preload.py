"""Load the task runtime into the launcher, so that an attempt is a fork instead of a cold start.

The launcher must stay fork-safe: one thread, no event loop, no Rust transport or object store in use. Every private
name of the SDK is touched inside a guard; if one is gone, attempts start cold, or a little slower.
"""

import gc
import importlib
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from alula.executors.process import warm
from alula.executors.process.tree import MARK

_ENTRY = "flyte._bin.runtime"

# What the entry point imports only once it runs, found by comparing `sys.modules` before and after an attempt.
_LATE = (
    "flyte._utils", "flyte.errors", "flyte.storage", "flyte._initialize", "flyte._internal.controllers",
    "flyte._internal.controllers.remote._controller", "flyte._internal.image_cache",
    "flyte._internal.runtime.entrypoints", "flyte._internal.runtime.convert", "flyte._internal.runtime.io",
    "flyte._internal.runtime.taskrunner", "flyte._internal.resolvers.default",
    "flyte._internal.controllers.remote._client", "flyte.remote._client.controlplane",
    "flyte.remote._client.auth._session", "flyte.remote._client.auth._authenticators.factory",
    "flyte.remote._client.auth._interceptors.default_metadata", "flyte.remote._client.auth._interceptors.retry",
    "pyqwest._glue", "opentelemetry.propagate", "httpx", "httpcore", "faulthandler", "importlib.readers",
    "rich.logging", "rich._emoji_codes", "opentelemetry.metrics", "flyte.git", "flyte._utils.asyncify",
)  # fmt: skip

# Variables whose presence makes no difference at these values: what the SDK's client sends with every run.
_DEFAULTS = {"LOG_LEVEL": ("30", "warning", "warn"), "USER_LOG_LEVEL": ("20", "info")}

# Read by the interpreter and by C libraries when a process starts, out of Python's sight.
_STARTUP = ("PYTHON", "LD_", "LC_", "LANG", "MALLOC_", "GLIBC_", "OPENSSL_", "OMP_", "MKL_", "OPENBLAS_")


@dataclass(frozen=True, slots=True)
class Runtime:
    """The loaded runtime. ``seen``: variables that were read while it was loaded, with what they were."""

    script: str  # the console script a cold start would execute
    seen: Mapping[str, str | None]
    installed: Mapping[str, int]  # where modules come from, and when that changed last

    def current(self) -> bool:
        """Whether nothing was installed or removed since; modules of two versions must not meet in one process."""
        return self.installed == _installed()

    def fits(self, env: Mapping[str, str]) -> bool:
        """Whether an attempt with this environment would have loaded the very same runtime."""
        for name in env.keys() | self.seen.keys():
            if name == MARK or (name not in self.seen and not name.startswith(_STARTUP)):
                continue
            ours, theirs = self.seen.get(name, os.environ.get(name)), env.get(name)
            if ours != theirs and (theirs or "").lower() not in _DEFAULTS.get(name, ()):
                return False
        return True


def load(script: str) -> Runtime:
    """Import the runtime and prepare the process to be forked.

    Raises:
        Exception: whatever the import raises, or RuntimeError if the process cannot be forked safely afterwards.
    """
    with _environment_reads() as names, _no_syncify_thread():
        importlib.import_module(_ENTRY)
        for module in _LATE:
            with suppress(ImportError):
                importlib.import_module(module)
        warm.warm()
    _close_syncify_loop()
    if (running := threading.active_count()) > 1 or _kernel_threads() > 1:
        raise RuntimeError(f"{max(running, _kernel_threads())} threads run after the import")
    gc.collect()
    gc.freeze()
    return Runtime(script, {name: os.environ.get(name) for name in names}, _installed())


@contextmanager
def _environment_reads() -> Iterator[set[str]]:
    """Collect the names of the variables that are read inside the block."""
    names: set[str] = set()
    plain = type(os.environ)

    class Observed(plain):  # type: ignore[misc, valid-type]
        def __getitem__(self, name: str) -> str:
            names.add(name)
            return str(super().__getitem__(name))

        def __contains__(self, name: object) -> bool:
            names.add(str(name))
            return bool(super().__contains__(name))

    os.environ.__class__ = Observed
    try:
        yield names
    finally:
        os.environ.__class__ = plain


@contextmanager
def _no_syncify_thread() -> Iterator[None]:
    """`import flyte` starts a thread; a fork would copy its locks and not the thread. The child starts its own."""
    start = threading.Thread.start

    def suppressed(self: threading.Thread) -> None:
        if self.name != "flyte_syncify":
            start(self)

    threading.Thread.start = suppressed  # type: ignore[method-assign]
    try:
        yield
    finally:
        threading.Thread.start = start  # type: ignore[method-assign]


def syncify() -> Any:
    """The SDK's background loop, or ``None`` in an SDK that has none."""
    with suppress(KeyError, AttributeError):
        return sys.modules["flyte.syncify"].syncify._bg_loop  # noqa: SLF001
    return None


def _close_syncify_loop() -> None:
    """Its selector and sockets must not be shared by the children."""
    if (background := syncify()) is not None:
        background.loop.close()


def _installed() -> dict[str, int]:
    found = {}
    for folder in sys.path:
        with suppress(OSError):
            found[folder] = os.stat(folder).st_mtime_ns
    return found


def _kernel_threads() -> int:
    try:
        return len(os.listdir("/proc/self/task"))
    except FileNotFoundError:
        return 1
