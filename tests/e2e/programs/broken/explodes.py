"""Raises while it is imported, but not at the client's."""

import os

import flyte

if "ACTION_NAME" in os.environ:
    raise RuntimeError("this module does not like it here")

env = flyte.TaskEnvironment(name="exploding")


@env.task
async def explodes() -> int:
    return 1
