"""Runs with names of their users' choice, in one project and in two."""

import flyte
import flyte.errors
from telling import end, tell  # type: ignore[import-not-found]

env = flyte.TaskEnvironment(name="names")


@env.task
async def add(x: int, y: int) -> int:
    return x + y


@env.task
async def parent(x: int) -> int:
    return await add(x, 1)


if __name__ == "__main__":
    flyte.init_from_config()
    first = flyte.with_runcontext(name="mine").run(add, x=1, y=2)
    again = flyte.with_runcontext(name="mine").run(add, x=1, y=2)
    refused = {}
    for what, task, inputs in (("inputs", add, {"x": 1, "y": 3}), ("task", parent, {"x": 1})):
        try:
            flyte.with_runcontext(name="mine").run(task, **inputs)
        except flyte.errors.RuntimeUserError as error:
            refused[what] = error.code
    here = flyte.with_runcontext(name="shared").run(parent, x=10)
    there = flyte.with_runcontext(name="shared", project="elsewhere").run(parent, x=20)
    staging = flyte.with_runcontext(name="shared", domain="staging").run(parent, x=30)
    told = {"first": end(first), "again": end(again), "here": end(here)}
    for key, run in (("there", there), ("staging", staging)):
        run.wait(quiet=True)
        told[key] = {"outputs": list(run.outputs())}
    try:
        flyte.with_runcontext(name="Not A Name").run(add, x=1, y=2)
    except flyte.errors.RuntimeUserError as error:
        refused["name"] = error.code
    tell(**told, refused=refused)
