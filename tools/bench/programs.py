"""What the benchmark runs through the SDK. Each task times itself and returns seconds."""

import asyncio
import time

import flyte

env = flyte.TaskEnvironment(name="bench")
shared = flyte.TaskEnvironment(name="shared", reusable=flyte.ReusePolicy(replicas=(2, 2), concurrency=8))
# The SDK itself starts at most 100 children a second, unless it is told otherwise.
callers = flyte.TaskEnvironment(name="callers", env_vars={"_F_MAX_QPS": "10000"}, depends_on=[shared])


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


@shared.task
async def nothing_shared(x: int) -> int:
    return x


@callers.task
async def awaits_shared(n: int) -> list[float]:
    """How long each of n children in reusable workers takes."""
    took = []
    for x in range(n):
        began = time.perf_counter()
        await nothing_shared(x)
        took.append(time.perf_counter() - began)
    return took


@callers.task
async def fan_shared(n: int) -> float:
    """How long n children at once take in reusable workers."""
    began = time.perf_counter()
    await asyncio.gather(*(nothing_shared(x) for x in range(n)))
    return time.perf_counter() - began


@callers.task
async def fans_shared(n: int) -> float:
    """How long four parents take that have n children at once among them."""
    began = time.perf_counter()
    await asyncio.gather(*(fan_shared(n // 4 + part) for part in range(4)))
    return time.perf_counter() - began


@callers.task
async def crowd(n: int) -> int:
    """The sum of what n children in reusable workers return."""
    return sum(await asyncio.gather(*(nothing_shared(x) for x in range(n))))
