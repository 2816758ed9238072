"""Runs what is deployed, by its name."""

import flyte
import flyte.errors
from flyte.remote import Task
from telling import end, tell  # type: ignore[import-not-found]

env = flyte.TaskEnvironment(name="caller")


@env.task
async def calls(x: int) -> int:
    """A task that was never deployed calls one that was."""
    found: int = await Task.get("deployed.double", auto_version="latest")(x=x, offset=3)
    return found


if __name__ == "__main__":
    flyte.init_from_config()
    double = Task.get("deployed.double", auto_version="latest")
    told = {
        "double": end(flyte.run(double, x=21)),
        "offset": end(flyte.run(double, x=21, offset=5)),
        "by_name": end(flyte.run(Task.get("deployed.by_name", auto_version="latest"), x=4)),
        "calls": end(flyte.run(calls, x=10)),
    }
    details = double.fetch()
    try:
        flyte.run(Task.get("deployed.no_such", auto_version="latest"), x=1)
    except flyte.errors.RemoteTaskNotFoundError as error:
        missing = error.code
    tell(
        **told,
        missing=missing,
        version=details.version,
        listed=sorted(task.name for task in Task.listall(by_task_env="deployed")),
        defaults=list(details.default_input_args),
        required=list(details.required_args),
    )
