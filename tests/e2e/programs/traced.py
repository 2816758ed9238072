"""A traced call that fails: its parent catches the error, its users are told of it."""

import flyte
from flyte.remote import Action, ActionDetails
from telling import tell  # type: ignore[import-not-found]

env = flyte.TaskEnvironment(name="traced")


@flyte.trace
async def breaks(x: int) -> int:
    raise ValueError(f"{x} is not enough")


@env.task
async def catches() -> str:
    try:
        await breaks(3)
    except ValueError as error:
        return f"caught: {error}"
    return "nothing was raised"


if __name__ == "__main__":
    flyte.init_from_config()
    run = flyte.run(catches)
    run.wait(quiet=True)
    (trace,) = [a for a in Action.listall(for_run_name=run.name) if a.name != "a0"]
    error = ActionDetails.get(run_name=run.name, name=trace.name).pb2.error_info
    tell(outputs=list(run.outputs()), phase=str(trace.phase), code=error.code, text=error.message)
