"""A parent that fans out to ten children, with a trace and a group."""

import asyncio

import flyte

env = flyte.TaskEnvironment(name="hello")


@flyte.trace
async def plan(n: int) -> list[int]:
    """A traced call: recorded, and not run again when the parent is retried."""
    return list(range(n))


@env.task
async def square(x: int) -> int:
    print(f"the square of {x} is {x * x}")
    return x * x


@env.task
async def main(n: int = 10) -> list[int]:
    numbers = await plan(n)
    with flyte.group("squares"):
        squares = await asyncio.gather(*(square(x) for x in numbers))
    print(f"{n} squares, their sum is {sum(squares)}")
    return list(squares)


if __name__ == "__main__":
    flyte.init_from_config()
    run = flyte.run(main, n=10)
    print(run.url)
    run.wait()
    print(run.outputs())
