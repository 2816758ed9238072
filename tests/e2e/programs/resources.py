"""Tasks that take more of the machine than they may, and what their parents are told."""

import subprocess
import sys
import time

import flyte
import flyte.errors
from telling import end, tell  # type: ignore[import-not-found]

MIB = 1024 * 1024

greedy = flyte.TaskEnvironment(name="greedy", resources=flyte.Resources(memory="300Mi"))
slow = flyte.TaskEnvironment(name="slow", resources=flyte.Resources(cpu=(0.25, 0.25)))
env = flyte.TaskEnvironment(name="resources", depends_on=[greedy, slow])


@greedy.task
async def eats(size: int) -> int:
    return len(bytearray(size * MIB))


@greedy.task
async def has_a_child_that_eats(size: int) -> int:
    subprocess.run([sys.executable, "-c", f"bytearray({size * MIB})"], check=True)
    return size


@slow.task
async def works(seconds: float) -> float:
    end, before = time.monotonic() + seconds, time.process_time()
    while time.monotonic() < end:
        pass
    return time.process_time() - before


@env.task
async def catches() -> list[str]:
    told = [str(await eats(10))]
    for task in (eats, has_a_child_that_eats):
        try:
            await task(1000)
        except flyte.errors.OOMError as error:
            told.append(f"{type(error).__name__} {error.code}: {error}")
    return told


@env.task
async def retries_with_more() -> int:
    """As the SDK's documentation has it: the caller asks for more."""
    for memory in ("300Mi", "1500Mi"):
        try:
            eaten: int = await eats.override(resources=flyte.Resources(memory=memory))(700)
        except flyte.errors.OOMError:
            continue
        return eaten
    return 0


@env.task
async def all_of_it() -> tuple[list[str], int, float]:
    return await catches(), await retries_with_more(), await works(2.0)


if __name__ == "__main__":
    flyte.init_from_config()
    tell(**end(flyte.run(all_of_it)))
