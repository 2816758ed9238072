"""An example as the SDK has many: a main part that runs a task and waits for it."""

import flyte

env = flyte.TaskEnvironment(name="greets")


@env.task
async def greet(name: str) -> str:
    return f"hello {name}"


if __name__ == "__main__":
    flyte.init_from_config()
    run = flyte.run(greet, name="there")
    run.wait()
    print(run.outputs()[0])
