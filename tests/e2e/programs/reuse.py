"""Tasks that share processes: who runs where, and what becomes of the others. The argument is a folder."""

import asyncio
import os
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import flyte
import flyte.errors
from flyte.remote import Run
from telling import children, end, tell  # type: ignore[import-not-found]

AWAY = "ACTION_NAME" in os.environ  # this is a task, not the client


def policy(replicas: tuple[int, int], concurrency: int = 1, **more: Any) -> flyte.ReusePolicy:
    return flyte.ReusePolicy(replicas=replicas, concurrency=concurrency, **more)


def brief() -> flyte.ReusePolicy:
    """What the SDK lets nobody ask for: nobody waits half a minute here."""
    found = policy((1, 2))
    found.idle_ttl = found.scaledown_ttl = timedelta(seconds=1)
    return found


one = flyte.TaskEnvironment(name="one", reusable=policy((1, 1)))
two = flyte.TaskEnvironment(name="two", reusable=policy((2, 2)))
many = flyte.TaskEnvironment(name="many", reusable=policy((1, 1), 4))
alone = flyte.TaskEnvironment(name="alone", reusable=policy((1, 1), 4, scope="run"))
short = flyte.TaskEnvironment(name="short", reusable=brief())
plain = flyte.TaskEnvironment(name="plain", depends_on=[one, two, many, alone, short])


async def appears(path: str) -> None:
    """Wait until another task has come so far."""
    async with asyncio.timeout(60):
        while not Path(path).exists():
            await asyncio.sleep(0.01)


@one.task
async def square(x: int) -> int:
    return x * x


@two.task
async def meets(path: str, me: int, other: int) -> int:
    """Ends once the other runs at the same time."""
    Path(f"{path}.{me}").touch()
    await appears(f"{path}.{other}")
    return os.getpid()


@many.task
async def meets_here(path: str, me: int, other: int) -> int:
    Path(f"{path}.{me}").touch()
    await appears(f"{path}.{other}")
    return os.getpid()


@plain.task
async def places(path: str) -> dict[str, list[int]]:
    """The processes of two that run at once: in two replicas, and in one."""
    apart = await asyncio.gather(meets(f"{path}/apart", 0, 1), meets(f"{path}/apart", 1, 0))
    together = await asyncio.gather(*(meets_here(f"{path}/together", n, (n + 1) % 4) for n in range(4)))
    return {"apart": list(apart), "together": list(together)}


@plain.task
async def squares(n: int) -> int:
    return sum(await asyncio.gather(*(square(x) for x in range(n))))


@one.task
async def nests(depth: int) -> int:
    """Each waits for the next in an environment with room for one."""
    return 0 if depth == 0 else 1 + await nests(depth - 1)


@one.task
def double(x: int) -> int:
    return 2 * x


@one.task
def calls_from_a_function(x: int) -> int:
    return double(x) + 1


@many.task
async def fails(x: int) -> int:
    raise ValueError(f"as asked {x}")


@one.task(retries=2)
async def flaky(path: str) -> str:
    attempt = flyte.ctx().attempt_number
    print(f"this is attempt {attempt}", flush=True)
    if attempt < 2:
        raise ValueError("too early")
    return f"attempt {attempt} {os.environ['FLYTE_ATTEMPT_NUMBER']}"


@alone.task
async def bystander(path: str) -> str:
    """Whoever shares its process ends it; it is tried again by the system."""
    with Path(f"{path}/bystander").open("a") as file:
        file.write("x")
    if len(Path(f"{path}/bystander").read_text()) == 1:
        await asyncio.sleep(60)
    return "done"


@alone.task
async def kills(path: str) -> int:
    await appears(f"{path}/bystander")
    if Path(f"{path}/killed").exists():
        return 1
    Path(f"{path}/killed").touch()
    os.kill(os.getpid(), 9)
    return 0


@one.task
async def exits(code: int) -> int:
    print("leaving", flush=True)
    os._exit(code)


@plain.task
async def accidents(path: str) -> dict[str, Any]:
    done = await asyncio.gather(bystander(path), kills(path))
    try:
        await exits(7)
    except flyte.errors.RuntimeUserError as error:
        return {"done": list(done), "code": error.code, "message": str(error), "after": await square(3)}
    return {}


@many.task
async def sleeps(path: str) -> int:
    Path(f"{path}/sleeps").touch()
    await asyncio.sleep(600)
    return 0


@many.task
async def goes_on(path: str) -> int:
    await appears(f"{path}/go")
    return os.getpid()


@plain.task
async def cancels(path: str) -> list[int]:
    """Aborts one of two in the same process."""
    here = await meets_here(f"{path}/here", 0, 0)
    other = asyncio.create_task(goes_on(path))
    aborted = asyncio.create_task(sleeps(path))
    await appears(f"{path}/sleeps")
    aborted.cancel()
    try:
        await aborted
    except asyncio.CancelledError:
        Path(f"{path}/go").touch()
    return [here, await other, await meets_here(f"{path}/here", 0, 0)]


@many.task(timeout=timedelta(seconds=1))
async def slow() -> int:
    await asyncio.sleep(600)
    return 0


@plain.task
async def too_slow() -> str:
    try:
        await slow()
    except flyte.errors.TaskTimeoutError as error:
        return type(error).__name__
    return "nothing"


@plain.task
async def errs() -> list[str]:
    found = await asyncio.gather(fails(1), meets_here("/tmp/alula-reuse", 0, 0), return_exceptions=True)
    return [getattr(found[0], "code", ""), type(found[1]).__name__]


@short.task
async def here() -> int:
    return os.getpid()


@plain.task
async def rests() -> list[int]:
    """The process before and after a while without work, and whether the first was gone by then."""
    first = await here()
    async with asyncio.timeout(60):
        while Path(f"/proc/{first}").exists():
            await asyncio.sleep(0.05)
    return [first, await here()]


def main(path: str) -> None:
    flyte.init_from_config()
    told: dict[str, Any] = {}
    runs: dict[str, Run] = {}
    started = time.monotonic()
    for name, task, arguments in (
        ("places", places, (path,)),
        ("rests", rests, ()),
        ("squares", squares, (200,)),
        ("nests", nests, (3,)),
        ("function", calls_from_a_function, (4,)),
        ("flaky", flaky, (path,)),
        ("accidents", accidents, (path,)),
        ("cancels", cancels, (path,)),
        ("too_slow", too_slow, ()),
        ("errs", errs, ()),
    ):
        runs[name] = flyte.run(task, *arguments)
        if name != "rests":
            told[name] = end(runs[name])
    told["rests"] = end(runs["rests"])
    told["accidents"]["children"] = children(runs["accidents"])
    told["cancels"]["children"] = children(runs["cancels"])
    told["seconds"] = time.monotonic() - started
    tell(**told)


if __name__ == "__main__" and not AWAY:
    main(sys.argv[1])
