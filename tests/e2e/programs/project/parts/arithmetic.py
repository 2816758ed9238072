"""Tasks in a module of a package."""

import flyte

env = flyte.TaskEnvironment(name="arithmetic")


@env.task
async def square(x: int) -> int:
    return x * x
