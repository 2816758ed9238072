"""Tasks that ask for more of a machine than can be had at once. The argument is a folder."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import flyte
import flyte.errors
from flyte.remote import Action, ActionDetails, Run
from telling import action, end, tell  # type: ignore[import-not-found]

big = flyte.TaskEnvironment(name="big", resources=flyte.Resources(cpu=4, memory="16Gi"))
graphics = flyte.TaskEnvironment(name="graphics", resources=flyte.Resources(gpu=1))
hungry = flyte.TaskEnvironment(
    name="hungry",
    resources=flyte.Resources(memory="300Mi"),
    env_vars={"ALULA_MORE_MEMORY": "times=2 factor=4 cap=1Gi"},
)
farm = flyte.TaskEnvironment(name="farm", resources=flyte.Resources(gpu="T4:8"))


@big.task
async def works(folder: str, number: int) -> int:
    """Notes when it comes and goes; it stays until somebody has seen others wait."""
    with Path(folder, "notes").open("a") as notes:
        print("comes", number, file=notes, flush=True)
        async with asyncio.timeout(60):
            while not Path(folder, "seen").exists():
                await asyncio.sleep(0.02)
        print("goes", number, file=notes, flush=True)
    return number


@big.task
async def shares(folder: str) -> list[int]:
    """Itself asks for all there is, and keeps its memory while it waits."""
    return list(await asyncio.gather(*(works(folder, n) for n in range(3))))


@graphics.task
async def sees() -> str:
    return os.environ.get("CUDA_VISIBLE_DEVICES", "all")


@hungry.task
async def eats() -> int:
    return len(bytearray(600 * 1024 * 1024))


@farm.task
async def dreams() -> str:
    return "of eight"


@farm.task(timeout=flyte.Timeout(max_runtime=60, max_queued_time=2))
async def hopes() -> str:
    return "of eight"


def waiting(run: Run) -> dict[str, Any]:
    """The first child that waits, and what is noted of it; then the others may go on."""
    while True:
        for child in Action.listall(for_run_name=run.name, parent_name="a0", in_phase=("waiting_for_resources",)):
            details = ActionDetails.get(run_name=run.name, name=child.name).pb2
            return {"name": child.name, "events": [event.message for event in details.attempts[-1].cluster_events]}


def noted(run: Run) -> list[str]:
    """What is noted of the last attempt of a run's root."""
    details = ActionDetails.get(run_name=run.name, name="a0").pb2
    return [event.message for event in details.attempts[-1].cluster_events]


if __name__ == "__main__":
    flyte.init_from_config()
    folder = sys.argv[1]
    run = flyte.run(shares, folder)
    waits = waiting(run)
    Path(folder, "seen").touch()
    shared, eaten = end(run), flyte.run(eats)
    tell(
        waits=waits,
        shared=shared,
        root=noted(run),
        waited=action(run, waits["name"]),
        notes=Path(folder, "notes").read_text().splitlines(),
        sees=end(flyte.run(sees)),
        dreams=end(flyte.run(dreams)),
        hopes=end(flyte.run(hopes)),
        eats=end(eaten),
        fed=noted(eaten),
    )
