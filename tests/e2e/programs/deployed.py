"""Tasks to deploy, among them one that knows the other by its name only."""

import flyte
import flyte.remote

env = flyte.TaskEnvironment(name="deployed", description="for the tests")


@env.task
async def double(x: int, offset: int = 0) -> int:
    """Twice as much."""
    return 2 * x + offset


@env.task
async def by_name(x: int) -> list[int]:
    latest = flyte.remote.Task.get("deployed.double", auto_version="latest")
    current = flyte.remote.Task.get("deployed.double", auto_version="current")
    return [await latest(x=x), await current(x=x, offset=1)]
