"""Needs something that is only where the client is."""

import os

import flyte

if "ACTION_NAME" in os.environ:
    import no_such_module  # type: ignore[import-not-found] # noqa: F401

env = flyte.TaskEnvironment(name="missing")


@env.task
async def unimportable() -> int:
    return 1
