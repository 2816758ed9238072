"""What an attempt needs only if it starts other actions or asks the server something: made when it does.

A task that only computes needs no client and no controller with its thread. Only for plain HTTP, where making them
cannot fail: what can (certificates, credentials) is done at once, as the SDK does it. Each step touches private names
of the SDK, and is skipped when they are not what they were.
"""

# ruff: noqa: SLF001

import asyncio
import importlib
import sys
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

# What may be said to a client that cannot fail to be made, besides its endpoint.
_HARMLESS = frozenset(
    {"endpoint", "insecure", "headless", "rpc_retries", "disable_keyring", "auth_type", "insecure_skip_verify"}
)


def lazily() -> None:
    """Do every step that is possible."""
    for step in (_client, _controller):
        with suppress(KeyError, AttributeError, TypeError, ImportError):
            step()


def _plain(given: dict[str, Any]) -> bool:
    said = {name for name, value in given.items() if value}
    plain: bool = {"endpoint", "insecure"} <= said <= _HARMLESS and not given.get("insecure_skip_verify")
    return plain


def _finish(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise RuntimeError("making the client waited for something")


def _client() -> None:
    """The SDK's client is made by `init`, for everything but the task's own inputs and outputs. 7 ms."""
    initialize: Any = sys.modules["flyte._initialize"]
    make: Callable[..., Any] = initialize._initialize_client
    real: Any = importlib.import_module("flyte.remote._client.controlplane").ClientSet

    class Later(real):  # type: ignore[misc]
        """Becomes the real one when anything of it is asked for."""

        def __init__(self, given: dict[str, Any]) -> None:
            object.__setattr__(self, "_later", (given, threading.Lock()))

        def __getattr__(self, name: str) -> Any:
            if name.startswith("__") or "_later" not in self.__dict__:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            given, lock = self.__dict__["_later"]
            with lock:
                if "_later" in self.__dict__ and isinstance(self, Later):
                    self.__dict__.update(_finish(make(**given)).__dict__)
                    self.__class__ = real
                    del self.__dict__["_later"]
            return getattr(self, name)

    Later.__name__, Later.__qualname__, Later.__module__ = real.__name__, real.__qualname__, real.__module__

    async def initialize_client(**given: Any) -> Any:
        return Later(given) if _plain(given) else await make(**given)

    initialize._initialize_client = initialize_client


def _controller() -> None:
    """The controller has a thread, an event loop and a client of its own, to start actions and to watch them. 6 ms."""
    controllers: Any = sys.modules["flyte._internal.controllers"]
    create: Callable[..., Any] = controllers.create_controller
    remote: Any = importlib.import_module("flyte._internal.controllers.remote._controller")
    package: Any = sys.modules["flyte._internal.controllers.remote"]
    real: Any = remote.RemoteController
    later = _later_controller(real)

    def create_controller(ct: str, **given: Any) -> Any:
        if ct != "remote" or not _plain(given):
            return create(ct=ct, **given)
        remote.RemoteController = package.RemoteController = later
        try:
            return create(ct=ct, **given)
        finally:
            remote.RemoteController = package.RemoteController = real

    controllers.create_controller = create_controller


def _later_controller(real: Any) -> Any:
    begin: Callable[[Any], None] = real._start
    for name in ("_run_coroutine_in_controller_thread", "finalize_parent_action", "watch_for_errors", "stop"):
        getattr(real, name)

    class Later(real):  # type: ignore[misc]
        """Starts its thread when there is something for it to do, and is the real one then."""

        def _start(self) -> None:
            self._later: tuple[threading.Lock, list[Any]] = (threading.Lock(), [])

        def _run_coroutine_in_controller_thread(self, coro: Any) -> Any:
            lock, waiting = self._later
            with lock:
                if type(self) is Later:
                    try:
                        begin(self)
                    except BaseException:
                        coro.close()
                        raise
                    self.__class__ = real
                    for loop, future in waiting:
                        loop.call_soon_threadsafe(_wake, future)
            return self._run_coroutine_in_controller_thread(coro)

        async def watch_for_errors(self) -> None:
            lock, waiting = self._later
            loop = asyncio.get_running_loop()
            future = loop.create_future()
            with lock:
                if type(self) is Later:
                    waiting.append((loop, future))
                else:
                    future.set_result(None)
            await future
            await real.watch_for_errors(self)

        async def finalize_parent_action(self, action_id: Any) -> None:
            """It has started no action."""

        async def stop(self) -> None:
            """It has not begun."""

    Later.__name__, Later.__qualname__, Later.__module__ = real.__name__, real.__qualname__, real.__module__
    return Later


def _wake(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
