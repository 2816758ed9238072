"""What a workflow can look like: fan-outs, nesting, recursion, maps, traces, groups, runs that start runs."""

import asyncio
import os
from pathlib import Path

import flyte
from telling import children, end, tell  # type: ignore[import-not-found]

env = flyte.TaskEnvironment(name="shapes", env_vars={"FROM_ENVIRONMENT": "e", "IN_BOTH": "environment"})
reusable = flyte.TaskEnvironment(name="warm", reusable=flyte.ReusePolicy(replicas=1, idle_ttl=60))


@env.task
async def hello(name: str = "world") -> str:
    return f"hello, {name}"


@env.task
async def square(x: int) -> int:
    return x * x


@env.task
async def fan(n: int) -> list[int]:
    return list(await asyncio.gather(*(square(x) for x in range(n))))


@env.task
async def leaf(path: list[str]) -> list[str]:
    return [*path, "leaf"]


@env.task
async def middle(path: list[str]) -> list[str]:
    return await leaf([*path, "middle"])


@env.task
async def top() -> list[str]:
    return await middle(["top"])


@env.task
async def count_down(n: int) -> list[int]:
    return [n, *(await count_down(n - 1) if n else [])]


@env.task
async def split(depth: int) -> int:
    """A tree in which every parent waits for two children: more of them than the server runs at once."""
    if depth == 0:
        return 1
    left, right = await asyncio.gather(split(depth - 1), split(depth - 1))
    return left + right


@env.task
def cube(x: int) -> int:
    return x**3


@env.task
def add(x: int, y: int) -> int:
    return x + y


@env.task
def mapped() -> list[int]:
    return [x for x in flyte.map(add, range(6), [10] * 6) if isinstance(x, int)]


@env.task
def sync_parent(x: int) -> int:
    return cube(cube(x))


@flyte.trace
async def triple(x: int) -> int:
    return 3 * x


@flyte.trace
async def shout(text: str) -> dict[str, str]:
    return {"said": text.upper()}


@env.task
async def traced() -> list[str]:
    numbers = [await triple(x) for x in range(3)]
    return [*(str(n) for n in numbers), (await shout("ho"))["said"]]


@env.task
async def grouped() -> int:
    with flyte.group("evens"):
        evens = await asyncio.gather(square(2), square(4))
    with flyte.group("odds"):
        odds = await asyncio.gather(square(3))
    return sum(evens) + sum(odds) + await square(5)


@env.task
async def nothing(path: str = "") -> None:
    if path:
        Path(path).write_text("was here")


@env.task
async def two() -> tuple[int, str]:
    return 2, "two"


@env.task
async def environment() -> dict[str, str]:
    return {name: os.environ.get(name, "") for name in ("FROM_ENVIRONMENT", "IN_BOTH", "FROM_RUN")}


@env.task
async def child_environment() -> dict[str, str]:
    return await environment()


@env.task
async def context() -> dict[str, str]:
    return flyte.get_custom_context()


@env.task
async def contexts() -> list[dict[str, str]]:
    with flyte.custom_context(inner="2"):
        changed = await context()
    return [flyte.get_custom_context(), await context(), changed]


@reusable.task
async def warm(x: int) -> int:
    return x + 1


@reusable.task
async def warm_parent(n: int) -> list[int]:
    return list(await asyncio.gather(*(warm(x) for x in range(n))))


@env.task
async def spawns() -> str:
    run = await flyte.run.aio(hello, name="spawned")
    await run.wait.aio(quiet=True)
    return f"{run.name} {(await run.outputs.aio())[0]}"


@env.task
async def identity() -> list[str]:
    found = flyte.ctx()
    assert found is not None
    return [found.action.run_name or "", found.action.name, os.environ["FLYTE_ATTEMPT_NUMBER"]]


if __name__ == "__main__":
    flyte.init_from_config()
    custom = flyte.with_runcontext(
        env_vars={"FROM_RUN": "r", "IN_BOTH": "run"}, labels={"team": "blue"}, custom_context={"outer": "1"}
    )
    runs = {
        "fan": flyte.run(fan, n=100),
        "hello": flyte.run(hello, name="e2e"),
        "default": flyte.run(hello),
        "top": flyte.run(top),
        "count_down": flyte.run(count_down, n=20),
        "split": flyte.run(split, depth=5),
        "mapped": flyte.run(mapped),
        "sync": flyte.run(sync_parent, x=2),
        "traced": flyte.run(traced),
        "grouped": flyte.run(grouped),
        "nothing": flyte.run(nothing),
        "two": flyte.run(two),
        "environment": custom.run(child_environment),
        "contexts": custom.run(contexts),
        "warm": flyte.run(warm_parent, n=5),
        "spawns": flyte.run(spawns),
        "identity": flyte.run(identity),
    }
    told = {key: end(run) for key, run in runs.items()}
    for key in ("fan", "traced", "grouped", "mapped"):
        told[key]["children"] = children(runs[key])
    tell(**told)
