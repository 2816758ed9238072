"""An example that is meant to fail: one task, without a main part, that its user runs by its name."""

import flyte

env = flyte.TaskEnvironment(name="tries")


@env.task(retries=1)
async def again(x: int) -> int:
    raise ValueError(f"{x} will not do")
