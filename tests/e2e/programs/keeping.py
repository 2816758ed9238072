"""What attempts leave behind: checkpoints, reports; and a task that travels as a pickle."""

import os

import flyte
import flyte.report
from telling import end, tell  # type: ignore[import-not-found]

env = flyte.TaskEnvironment(name="keeping")

OUTSIDE = 7


@env.task(retries=2)
async def resumes() -> list[str]:
    """Each attempt adds to what the one before saved."""
    found = flyte.ctx()
    assert found is not None
    checkpoint = found.checkpoint
    assert checkpoint is not None
    before = await checkpoint.load()
    done = before.read_text().split() if before is not None else []
    done.append(f"attempt{os.environ['FLYTE_ATTEMPT_NUMBER']}")
    await checkpoint.save(" ".join(done).encode())
    if len(done) < 3:
        raise ValueError(f"only {len(done)}")
    return done


@env.task(report=True, retries=1)
async def reports() -> str:
    attempt = os.environ["FLYTE_ATTEMPT_NUMBER"]
    await flyte.report.log.aio(f"<b>report of attempt {attempt} ☃</b>", do_flush=True)
    if attempt == "0":
        raise ValueError("once more")
    tab = flyte.report.get_tab("More")
    tab.log("<i>in a tab</i>")
    await flyte.report.flush.aio()
    return attempt


if __name__ == "__main__":
    flyte.init_from_config()

    @env.task
    async def leaf(x: int) -> int:
        return x * OUTSIDE

    @env.task
    async def pickled(x: int) -> int:
        """Exists nowhere but in this process."""
        return await leaf(x) + 1

    checkpointed = flyte.run(resumes)
    reported = flyte.run(reports)
    interactive = flyte.with_runcontext(interactive_mode=True).run(pickled, x=6)
    told = {"checkpointed": end(checkpointed), "reported": end(reported), "pickled": end(interactive)}
    tell(
        **told,
        reports=[reported.get_report(attempt=1), reported.get_report()],
        bundle=interactive.code_bundle() is not None,
    )
