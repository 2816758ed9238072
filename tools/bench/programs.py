"""What the benchmark runs through the SDK. Each task times itself and returns seconds."""

import asyncio
import time

import flyte

env = flyte.TaskEnvironment(name="bench")


@env.task
async def nothing(x: int) -> int:
    return x


@flyte.trace
async def step(x: int) -> int:
    return x


@env.task
async def awaits(n: int) -> list[float]:
    """How long each of n children takes, one after the other, from the call to its result."""
    took = []
    for x in range(n):
        began = time.perf_counter()
        await nothing(x)
        took.append(time.perf_counter() - began)
    return took


@env.task
async def traces(n: int) -> list[float]:
    """How long each of n traced calls takes."""
    took = []
    for x in range(n):
        began = time.perf_counter()
        await step(x)
        took.append(time.perf_counter() - began)
    return took


@env.task
async def fan(n: int) -> float:
    """How long n children at once take."""
    began = time.perf_counter()
    await asyncio.gather(*(nothing(x) for x in range(n)))
    return time.perf_counter() - began
