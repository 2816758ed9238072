"""A task that imports what the test puts beside it: ``wrong.py``, which is no Python."""

import flyte

env = flyte.TaskEnvironment(name="syntax")


@env.task
async def syntax() -> str:
    import wrong  # type: ignore[import-not-found]

    return str(wrong)
