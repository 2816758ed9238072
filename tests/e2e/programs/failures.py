"""How tasks fail, what their parents and their users are told, and what happens again. The argument is a folder."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import flyte
import flyte.errors
from flyte.remote import Run
from telling import children, end, tell  # type: ignore[import-not-found]

env = flyte.TaskEnvironment(name="failures")

AWAY = "ACTION_NAME" in os.environ  # this is a task, not the client


class OwnError(Exception):
    """An error of the user's own."""


def note(path: str, text: str) -> None:
    """Count an execution where nothing of the server's can hide it."""
    with Path(path).open("a") as file:
        file.write(text + "\n")


async def sleeper(path: str) -> int:
    """Wait for a task that notes that it sleeps; its process."""
    async with asyncio.timeout(60):
        while "sleeps" not in Path(path).read_text():
            await asyncio.sleep(0.02)
    return int(Path(path).read_text().split()[-1])


@env.task
async def raises(kind: str) -> int:
    errors = {"value": ValueError, "key": KeyError, "own": OwnError, "zero": ZeroDivisionError}
    raise errors[kind](f"a {kind} error ☃\nwith a second line")


@env.task
async def catches() -> dict[str, str]:
    caught = {}
    for kind in ("value", "key", "own", "zero"):
        try:
            await raises(kind)
        except flyte.errors.RuntimeUserError as error:
            caught[kind] = f"{error.code} {'a ' + kind in str(error)}"
    return caught


@env.task
async def raises_below() -> int:
    return await raises("value")


@env.task(retries=3)
async def hopeless(path: str) -> None:
    note(path, "hopeless")
    raise flyte.errors.NonRecoverableError("no use")


@env.task(retries=2)
async def flaky(path: str) -> str:
    attempt = int(os.environ["FLYTE_ATTEMPT_NUMBER"])
    note(path, f"flaky {attempt}")
    print(f"this is attempt {attempt}")
    if attempt < 2:
        raise ValueError(f"attempt {attempt} was too early")
    return f"attempt {attempt}"


@env.task(retries=1)
async def exhausted(path: str) -> None:
    note(path, "exhausted")
    raise OwnError("always")


@env.task
async def parent_of_exhausted(path: str) -> str:
    try:
        await exhausted(path)
    except flyte.errors.RuntimeUserError as error:
        return error.code
    return "nothing"


@flyte.trace
async def traced(path: str, n: int) -> int:
    note(path, f"trace {n}")
    return 10 * n


@env.task
async def child(path: str, n: int) -> int:
    note(path, f"child {n}")
    return 100 * n


@env.task
async def fails_first(path: str) -> int:
    """It worked once it is asked again: after a failure under the parent's first attempt."""
    runs = Path(path).read_text().count("fails first")
    note(path, "fails first")
    if runs == 0:
        raise ValueError("the first time")
    return 1000


@env.task(retries=1)
async def retried_parent(path: str) -> int:
    note(path, "parent")
    traces = [await traced(path, n) for n in range(3)]
    results = await asyncio.gather(*(child(path, n) for n in range(3)))
    total = sum(traces) + sum(results) + await fails_first(path)
    if os.environ["FLYTE_ATTEMPT_NUMBER"] == "0":
        raise RuntimeError("not reached: the child failed before")
    return total


@flyte.trace
async def failing_trace() -> int:
    raise ValueError("in a trace")


@env.task
async def catches_trace() -> str:
    try:
        await failing_trace()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


@env.task
async def killed(path: str) -> None:
    note(path, "killed")
    os.kill(os.getpid(), 9)


@env.task
async def catches_killed(path: str) -> list[str]:
    try:
        await killed(path)
    except flyte.errors.RuntimeSystemError as error:
        return [type(error).__name__, error.code]
    return []


@env.task
async def exits(code: int) -> None:
    print(f"leaving with {code}", flush=True)
    os._exit(code)


@env.task
async def catches_exit() -> str:
    try:
        await exits(3)
    except flyte.errors.RuntimeUserError as error:
        return error.code
    return "nothing"


@env.task
async def leaves() -> None:
    sys.exit(4)


@env.task
async def sleeps(path: str, seconds: float = 600.0) -> str:
    note(path, f"sleeps {os.getpid()}")
    await asyncio.sleep(seconds)
    return "slept"


@env.task
async def sleeps_below(path: str) -> str:
    return await sleeps(path)


@env.task
async def wrong_output() -> int:
    return "text"  # type: ignore[return-value]


@env.task
async def leaves_children(path: str) -> str:
    """Fails while a child still works."""
    asyncio.get_running_loop().create_task(sleeps(path))
    await sleeper(path)
    raise ValueError("done with this")


@env.task
async def cancels(path: str) -> list[str]:
    """Starts a child that has a child of its own, and then wants neither."""
    below = asyncio.create_task(sleeps_below(path))
    await sleeper(path)
    below.cancel()
    try:
        await below
    except asyncio.CancelledError:
        return ["cancelled", await quick()]
    return ["not cancelled"]


@env.task
async def quick() -> str:
    return "quick"


@env.task
async def catches_abort(path: str) -> str:
    try:
        return await sleeps(path)
    except flyte.errors.ActionAbortedError as error:
        return f"{error.code} {await quick()}"


@env.task
async def vanishes() -> int:
    return 1


if AWAY:
    del vanishes


def abort_child(run: Run, path: str) -> dict[str, Any]:
    """Abort a child while its parent waits for it; how the parent ended."""
    asyncio.run(sleeper(path))
    (found,) = list(flyte.remote.Action.listall(for_run_name=run.name, parent_name="a0"))
    found.abort(reason="not needed any more")
    return {**end(run), "children": children(run)}


if __name__ == "__main__":
    flyte.init_from_config()
    folder = Path(sys.argv[1])
    paths = {}
    for key in ("hopeless", "flaky", "exhausted", "retried", "killed", "leaves_children", "cancels", "aborted"):
        paths[key] = str(folder / key)
        Path(paths[key]).touch()
    runs = {
        "aborted": flyte.run(catches_abort, path=paths["aborted"]),
        "raises": flyte.run(raises, kind="value"),
        "raises_below": flyte.run(raises_below),
        "catches": flyte.run(catches),
        "hopeless": flyte.run(hopeless, path=paths["hopeless"]),
        "flaky": flyte.run(flaky, path=paths["flaky"]),
        "exhausted": flyte.run(parent_of_exhausted, path=paths["exhausted"]),
        "retried": flyte.run(retried_parent, path=paths["retried"]),
        "catches_trace": flyte.run(catches_trace),
        "killed": flyte.run(catches_killed, path=paths["killed"]),
        "exits": flyte.run(exits, code=3),
        "catches_exit": flyte.run(catches_exit),
        "leaves": flyte.run(leaves),
        "wrong_output": flyte.run(wrong_output),
        "leaves_children": flyte.run(leaves_children, path=paths["leaves_children"]),
        "cancels": flyte.run(cancels, path=paths["cancels"]),
        "vanishes": flyte.run(vanishes),
    }
    told = {"aborted": abort_child(runs["aborted"], paths["aborted"])}
    told |= {key: end(run) for key, run in runs.items() if key != "aborted"}
    for key in ("retried", "leaves_children", "cancels", "killed", "catches_trace", "exhausted"):
        told[key]["children"] = children(runs[key])
    (below,) = [one["name"] for one in told["cancels"]["children"] if one["task"] == "failures.sleeps_below"]
    told["cancels"]["grandchildren"] = children(runs["cancels"], below)
    for key, path in paths.items():
        told[key]["executions"] = Path(path).read_text().splitlines()
    flaky_logs = [list(runs["flaky"].get_logs(attempt=n, filter_system=True)) for n in (1, 2, 3)]
    told["flaky"]["logs"] = ["".join(lines) for lines in flaky_logs]
    tell(**told)
