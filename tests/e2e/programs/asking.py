"""Conditions, cached results, and runs that recover others."""

import asyncio
import os
import time
from datetime import timedelta

import flyte
import flyte.errors
from flyte.remote import Condition, Run
from telling import action, children, end, tell  # type: ignore[import-not-found]

env = flyte.TaskEnvironment(name="asking")


@env.task
async def asks() -> list[str]:
    """Four questions at once, each of another type."""
    types = {"yes": bool, "count": int, "share": float, "name": str}
    asked = [await flyte.new_condition.aio(name, prompt=f"{name}?", data_type=kind) for name, kind in types.items()]
    return [str(await condition.wait.aio()) for condition in asked]


@env.task
async def impatient() -> str:
    condition = await flyte.new_condition.aio("never", timeout=timedelta(seconds=1))
    try:
        await condition.wait.aio()
    except flyte.errors.ConditionTimedoutError:
        return "timed out"
    return "answered"


@env.task(cache=flyte.Cache(behavior="override", version_override="1"))
async def costly(x: int) -> float:
    return x + time.time()


@env.task(cache=flyte.Cache(behavior="override", version_override="1", serialize=True))
async def shared(x: int) -> float:
    await asyncio.sleep(0.3)  # so that the others come while it works
    return x + time.time()


@env.task
async def together() -> list[float]:
    return list(await asyncio.gather(*(shared(7) for _ in range(5))))


@env.task
async def computes() -> list[float]:
    return [await costly(1), await costly(1), await costly(2)]


@flyte.trace
async def traced(x: int) -> float:
    return x + time.time()


@env.task
async def steady(x: int) -> float:
    return x + time.time()


@env.task
async def shaky(x: int) -> int:
    if os.environ.get("FIXED") != "1":
        raise ValueError("not yet")
    return x


@env.task
async def pipeline(x: int) -> list[float]:
    first, second = await steady(x), await traced(x)
    return [first, second, float(await shaky(x))]


def waiting(run: Run, count: int) -> list[Condition]:
    """The conditions of a run, once there are as many as are asked for."""
    while True:
        found = list(Condition.listall(run_name=run.name))
        if len(found) == count:
            return found
        time.sleep(0.05)


if __name__ == "__main__":
    flyte.init_from_config()
    run = flyte.run(asks)
    answers = {"yes": True, "count": 7, "share": 0.5, "name": "☃"}
    found = waiting(run, 4)
    for condition in found:
        condition.signal(answers[condition.name])
    asked = end(run)
    cached = [end(flyte.run(computes)) for _ in range(2)]
    anew = end(flyte.with_runcontext(overwrite_cache=True).run(computes))
    seed = flyte.run(pipeline, x=1)
    failed = end(seed)
    before = {c["task"]: c for c in children(seed)}
    recovered = flyte.with_runcontext(env_vars={"FIXED": "1"}).rerun(seed.name, recover=True)
    tell(
        asked=asked,
        conditions=[action(run, c.pb2.id.name) for c in found],
        impatient=end(flyte.run(impatient)),
        cached=cached,
        anew=anew,
        together=end(flyte.run(together)),
        failed=failed,
        before=before,
        recovered=end(recovered),
        after={c["task"]: c for c in children(recovered)},
    )
