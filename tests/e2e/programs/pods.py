"""What only a cluster does to tasks: no image, no room, nodes that are lost. The argument is a folder."""

import asyncio
import os
import sys
from pathlib import Path

import flyte
import flyte.errors
from everywhere import env as everywhere  # type: ignore[import-not-found]
from everywhere import hello, note
from flyte.remote import Run
from telling import action, end, tell  # type: ignore[import-not-found]

env = flyte.TaskEnvironment(name="pods")
imageless = flyte.TaskEnvironment(name="imageless", image="registry.invalid/no-such-image:1")
roomless = flyte.TaskEnvironment(name="roomless", resources=flyte.Resources(cpu=1000))
all_of_them = flyte.TaskEnvironment(name="all", depends_on=[env, imageless, everywhere])


@imageless.task
async def without_image() -> int:
    return 1


@roomless.task
async def without_room() -> int:
    return 1


@all_of_them.task
async def catches() -> str:
    try:
        await without_image()
    except flyte.errors.ImagePullBackOffError as error:
        return f"{error.code}: {error}"
    return "nothing was raised"


@env.task
async def outlives(path: str) -> str:
    """Works for ever, unless it was lost before."""
    if note(path, os.environ["_F_PN"]) == 0:
        await asyncio.sleep(600)
    return "it was tried again"


async def _waits(run: Run) -> None:
    async with asyncio.timeout(60):
        while action(run, "a0")["phase"] != "WAITING_FOR_RESOURCES":
            await asyncio.sleep(0.05)


if __name__ == "__main__":
    flyte.init_from_config()
    folder = Path(sys.argv[1])
    runs = {"roomless": flyte.run(without_room), "at_once": flyte.run(hello)}
    runs["at_once"].abort(reason="at once")
    for key in ("gone", "silent"):
        (folder / key).touch()
        runs[key] = flyte.run(outlives, path=str(folder / key))
    runs["imageless"] = flyte.run(catches)
    asyncio.run(_waits(runs["roomless"]))
    runs["roomless"].abort(reason="no room")
    told = {key: end(run) for key, run in runs.items()}
    for key in ("gone", "silent"):
        told[key]["pods"] = (folder / key).read_text().splitlines()
    tell(**told)
