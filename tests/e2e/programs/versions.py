"""Tasks on another Python: images that nobody has built, and whose names say what they are."""

import asyncio
import sys
from typing import Any

import flyte
from flyte.remote import ActionDetails, Run
from telling import end, tell  # type: ignore[import-not-found]

other = flyte.TaskEnvironment("other", image=flyte.Image.from_debian_base(python_version=(3, 12)))
nobody = flyte.TaskEnvironment("nobody", image=flyte.Image.from_debian_base(python_version=(3, 99)))


@other.task
async def on_other() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor} {flyte.__version__}"


@nobody.task
async def on_nobody() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def told_of(run: Run) -> dict[str, Any]:
    """How a run ended, and what was said of its environment."""
    told: dict[str, Any] = end(run)
    (attempt,) = ActionDetails.get(run_name=run.name, name="a0").pb2.attempts
    return {**told, "events": [event.message for event in attempt.cluster_events]}


async def main() -> None:
    runs = await asyncio.gather(flyte.run.aio(on_other), flyte.run.aio(on_other), flyte.run.aio(on_nobody))
    first, second, third = await asyncio.gather(*(asyncio.to_thread(told_of, run) for run in runs))
    tell(first=first, second=second, third=third)


if __name__ == "__main__":
    flyte.init_from_config()
    asyncio.run(main())
