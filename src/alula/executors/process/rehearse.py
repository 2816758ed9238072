"""Do what every attempt does some times over, before the fork: the interpreter adapts code that it has run.

What it adapts it writes down in the code's own memory, which an attempt would have to copy first. Nothing of it is an
attempt's: no variable of the environment is read here that one may change, and what is registered is taken back.
"""

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

_TIMES = 12  # code is adapted after eight calls
_ARGUMENTS = (
    "--inputs", "s3://none/inputs.pb", "--outputs-path", "s3://none", "--version", "none", "--run-base-dir", "s3://none",
    "--raw-data-path", "s3://none", "--checkpoint-path", "s3://none", "--prev-checkpoint", "", "--run-name", "none",
    "--name", "none", "--project", "none", "--domain", "none", "--org", "none", "--image-cache", "", "--tgz", "s3://none",
    "--dest", ".", "--resolver", "none", "mod", "none", "instance", "none",
)  # fmt: skip
_DESCRIPTION = """Nothing.

Args:
    x: a number.

Returns:
    The number.
"""


def rehearse() -> None:
    """Do every step that is possible."""
    for step in (_parse, _loop, _task):
        with suppress(KeyError, AttributeError, TypeError, ValueError):
            for _ in range(_TIMES):
                step()
    asyncio.set_event_loop_policy(None)


def _parse() -> None:
    sys.modules["flyte._bin.runtime"].main.make_context("a0", list(_ARGUMENTS))


async def _nothing() -> None:
    pass


def _loop() -> None:
    asyncio.run(_nothing())


def _task() -> None:
    """Define a task, and turn its inputs and outputs into what they are on the wire."""
    flyte: Any = sys.modules["flyte"]
    known: list[Any] = sys.modules["flyte._environment"]._ENVIRONMENT_REGISTRY  # noqa: SLF001
    convert: Any = sys.modules["flyte._internal.runtime.convert"]
    before = len(known)
    try:
        task = flyte.TaskEnvironment(name="none").task(_function())
        asyncio.run(_convert(convert, task.native_interface))
    finally:
        del known[before:]


def _function() -> Callable[..., Any]:
    async def none(x: int = 3) -> int:
        return x

    none.__doc__ = _DESCRIPTION  # its reader compiles patterns for all the ways to write one: 5 ms
    return none


async def _convert(convert: Any, interface: Any) -> None:
    await convert.convert_inputs_to_native(convert.Inputs.empty(), interface)
    await convert.convert_from_native_to_outputs(4, interface, "none")
