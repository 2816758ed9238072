"""Tasks that take too long, and what their parent is told."""

import asyncio
from datetime import timedelta

import flyte
import flyte.errors
from telling import tell  # type: ignore[import-not-found]

env = flyte.TaskEnvironment(name="limits")


@env.task(timeout=timedelta(seconds=1))
async def too_long() -> int:
    await asyncio.sleep(60)
    return 1


@env.task
async def catches() -> str:
    try:
        await too_long()
    except flyte.errors.MaxRuntimeExceededError as error:
        return type(error).__name__
    return "nothing was raised"


if __name__ == "__main__":
    flyte.init_from_config()
    run = flyte.run(catches)
    run.wait(quiet=True)
    tell(outputs=list(run.outputs()))
