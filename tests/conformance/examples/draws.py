"""An example that cannot run everywhere."""

import flyte

env = flyte.TaskEnvironment(name="draws", resources=flyte.Resources(gpu=1))


@env.task
async def draw() -> str:
    return "a picture"


if __name__ == "__main__":
    flyte.init_from_config()
    flyte.run(draw)
