"""What the SDK's remote API says of runs: lists, filters, details, times, failures, code."""

import asyncio
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import flyte
import flyte.errors
from flyte.models import ActionPhase
from flyte.remote import Action, ActionDetails, Run, TimeFilter
from telling import end, tell  # type: ignore[import-not-found]

env = flyte.TaskEnvironment(name="remote")


@env.task
async def ok(x: int) -> tuple[int, str]:
    return x, str(x)


@env.task
async def fails(x: int) -> int:
    raise ValueError(f"no {x}")


@env.task
async def parent_of_fails() -> int:
    await ok(1)
    return await fails(2)


@env.task
async def sleeps(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


def filters(began: datetime) -> dict[str, Any]:
    """Which of this program's runs each filter finds, by their tasks' names."""
    asked: dict[str, dict[str, Any]] = {
        "all": {},
        "ok": {"task_name": "remote.ok"},
        "failed": {"in_phase": ("failed",)},
        "ended": {"in_phase": (ActionPhase.SUCCEEDED, ActionPhase.FAILED)},
        "newest first": {"sort_by": ("created_at", "desc")},
        "limited": {"sort_by": ("created_at", "desc"), "limit": 1},
        "before": {"created_at": TimeFilter(before=began)},
        "later": {"created_at": TimeFilter(after=datetime.now(UTC) + timedelta(minutes=1))},
    }
    found = {}
    for key, words in asked.items():
        runs = Run.listall(**{"created_at": TimeFilter(after=began), **words})
        names = [str(run.pb2.action.metadata.task.id.name) for run in runs]
        found[key] = [name.removeprefix("remote.") for name in names if name.startswith("remote.")]
    return found


def failure(run: Run) -> dict[str, str]:
    """What there is to say about a run that failed."""
    first = run.first_failure()
    assert first is not None
    try:
        run.raise_for_status()
    except flyte.errors.RuntimeUserError as error:
        return {"task": str(first.task_name), "message": first.error_message, "code": error.code, "text": str(error)}
    return {}


async def watched(run: Run) -> list[str]:
    """The phases that a watcher sees, each once."""
    seen: list[str] = []
    async for details in run.watch():
        if not seen or seen[-1] != details.phase.value:
            seen.append(details.phase.value)
    return seen


def times(run: Run) -> dict[str, Any]:
    details = ActionDetails.get(run_name=run.name, name="a0")
    running = details.running_time
    assert running is not None
    phases = [one.phase.value for one in details.get_phase_transitions()]
    return {"phases": phases, "running": running.total_seconds(), "runtime": details.runtime.total_seconds()}


def files_of(run: Run) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        run.download_code(dest=folder)
        return sorted(path.name for path in Path(folder).rglob("*.py"))


if __name__ == "__main__":
    flyte.init_from_config()
    began = datetime.now(UTC) - timedelta(seconds=1)
    slow = flyte.run(sleeps, seconds=0.5)
    slow.wait(wait_for="running")
    running = slow.sync().phase
    told = {
        "watched": asyncio.run(watched(slow)),
        "slow": end(slow),
        "ok": end(good := flyte.run(ok, x=5)),
        "bad": end(bad := flyte.run(parent_of_fails)),
    }
    endless = flyte.run(sleeps, seconds=600.0)
    endless.wait(wait_for="running")
    endless.abort(reason="that is long enough")
    told["endless"] = end(endless)
    try:
        Run.get(endless.name).raise_for_status()
    except flyte.errors.ActionAbortedError as error:
        aborted = str(error)
    failed = [action.task_name for action in Action.listall(for_run_name=bad.name, in_phase=("failed",))]
    tell(
        **told,
        running=str(running),
        times=times(slow),
        filters=filters(began),
        failure=failure(bad),
        aborted=aborted,
        failed=failed,
        named=good.details().task_name,
        code=files_of(good),
    )
