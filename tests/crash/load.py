"""Tasks for a server in trouble, and how they are deployed: ``load.py deploy``.

Each leaf writes a line when it begins and one when it is done: `begin|done <run> <what> <attempt> <pid>`.
"""

import asyncio
import os
import time

import flyte

RAN = os.environ["RAN"]
VERSION = "1"

shared = flyte.TaskEnvironment(
    name="chaos-shared", env_vars={"RAN": RAN}, reusable=flyte.ReusePolicy(replicas=1, concurrency=2)
)
plain = flyte.TaskEnvironment(name="chaos", env_vars={"RAN": RAN}, depends_on=[shared])


def attempt() -> int:
    return flyte.ctx().attempt_number


def write(word: str, what: str) -> None:
    with open(RAN, "a") as file:
        file.write(f"{word} {flyte.ctx().action.run_name} {what} {attempt()} {os.getpid()}\n")


@plain.task(retries=1)
async def leaf(x: int) -> int:
    """Of each four, one fails at first, one takes CPU, one prints a lot, one sleeps."""
    write("begin", f"leaf{x}")
    if x % 4 == 0 and attempt() == 0:
        raise ValueError("as asked")
    if x % 4 == 1:
        end = time.process_time() + 0.1
        while time.process_time() < end:
            pass
    elif x % 4 == 2:
        print("line\n" * 2000)
    else:
        await asyncio.sleep(0.3)
    write("done", f"leaf{x}")
    return x


@shared.task
async def reused(x: int) -> int:
    write("begin", f"reused{x}")
    await asyncio.sleep(0.2)
    write("done", f"reused{x}")
    return x


@plain.task
async def main(n: int) -> int:
    write("begin", "main0")
    found = await asyncio.gather(*(leaf(x) for x in range(n)), *(reused(x) for x in range(n // 2)))
    assert sum(found) == sum(range(n)) + sum(range(n // 2))
    write("done", "main0")
    return sum(found)


if __name__ == "__main__":
    flyte.init_from_config()
    flyte.deploy(plain, version=VERSION)
    print("deployed", flush=True)
    os._exit(0)  # the SDK's HTTP client may abort an interpreter that ends while its threads do
