"""A task that only sleeps: its function is never called."""

import time
from datetime import timedelta

import flyte
from flyte.extras import Sleep
from telling import end, tell  # type: ignore[import-not-found]

env = flyte.TaskEnvironment(name="sleeping", plugin_config=Sleep())
wrong = flyte.TaskEnvironment(name="wrong", plugin_config=Sleep())


@env.task
async def sleeps(duration: timedelta) -> None:
    raise ValueError("nobody calls this")


@wrong.task
async def answers(duration: timedelta) -> int:
    return 1


if __name__ == "__main__":
    flyte.init_from_config()
    began = time.monotonic()
    slept = end(flyte.run(sleeps, duration=timedelta(seconds=1.5)))
    tell(slept=slept, seconds=time.monotonic() - began, wrong=end(flyte.run(answers, duration=timedelta(seconds=1))))
