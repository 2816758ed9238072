"""Runs on this machine, in this process, whose course is told to the server."""

import json

import flyte

env = flyte.TaskEnvironment(name="tracked")


@flyte.trace
async def look(x: int) -> int:
    return x + 1


@env.task
async def step(x: int) -> int:
    return await look(x) * 2


@env.task(report=True)
async def whole(n: int) -> list[int]:
    flyte.report.get_tab("main").log("<b>so far</b>")
    await flyte.report.flush.aio()
    return [await step(x) for x in range(n)]


@env.task
async def breaks() -> int:
    raise ValueError("it broke here")


if __name__ == "__main__":
    flyte.init_from_config()
    told: dict[str, object] = {}
    run = flyte.with_runcontext(mode="local", tracked=True, tracked_strict=True, name="local-whole-run").run(whole, 2)
    told["outputs"] = list(run.outputs()[0])
    try:
        flyte.with_runcontext(mode="local", tracked=True, tracked_strict=True, name="local-broken").run(breaks)
    except Exception as error:
        told["error"] = str(error)
    print(json.dumps(told))
