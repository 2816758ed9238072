"""Load the task runtime into a warm parent, so that an attempt is a fork instead of a cold start.

The parent must stay fork-safe: one thread, no event loop, no Rust transport or object store in use. Every private
name of the SDK is touched inside a guard; if one is gone, attempts start cold, or a little slower.
"""

import gc
import importlib
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from alula.executors.process import lazily, near, rehearse, warm
from alula.executors.process.runtime import Runtime

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
        lazily.lazily()
        near.install(durable=True)
    _close_syncify_loop()
    rehearse.rehearse()
    _settle()
    return Runtime.loaded(script, names)


def extend(runtime: Runtime, modules: Sequence[str]) -> Runtime:
    """Import what a bundle's code imports, too. A module that fails here fails in the attempt, which says so.

    Raises:
        RuntimeError: the process cannot be forked safely afterwards.
    """
    with _environment_reads() as names:
        for module in modules:
            with suppress(Exception):
                importlib.import_module(module)
    _settle()
    return Runtime.loaded(runtime.script, names | runtime.seen.keys())


def _settle() -> None:
    """Make sure that this process can be forked.

    A library may have threads of its own that it ends around each fork, as OpenBLAS does: the first fork shows it.
    """
    if threading.active_count() > 1:
        raise RuntimeError(f"threads run after the import: {[thread.name for thread in threading.enumerate()][1:]}")
    if _kernel_threads() > 1:
        if (pid := os.fork()) == 0:
            os._exit(0)
        os.waitpid(pid, 0)
    if (running := _kernel_threads()) > 1:
        raise RuntimeError(f"{running - 1} threads of libraries run after the import")
    gc.collect()
    gc.freeze()


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
    """`import flyte` starts a thread; a fork would copy its locks and not the thread. The worker starts its own."""
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


def _kernel_threads() -> int:
    try:
        return len(os.listdir("/proc/self/task"))
    except FileNotFoundError:
        return 1
