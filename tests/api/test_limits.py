"""Limits of time, seen from outside: what a task that takes too long ends as."""

from datetime import timedelta
from pathlib import Path

import pytest
from flyteidl2.task import task_definition_pb2

from tests.api.caller import SUCCEEDED, Caller, gated, python

TIMED_OUT = 8
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


def limited(spec: task_definition_pb2.TaskSpec, **seconds: float) -> task_definition_pb2.TaskSpec:
    metadata = spec.task_template.metadata
    limits = {
        "max_runtime": metadata.timeout,
        "queued": metadata.timeouts.queued_timeout,
        "all": metadata.timeouts.deadline,
    }
    for name, value in seconds.items():
        limits[name].FromTimedelta(timedelta(seconds=value))
    return spec


@pytest.mark.parametrize(
    ("seconds", "retries", "code", "attempts"),
    [
        ({"max_runtime": 0.4}, 0, "MAX_RUNTIME_EXCEEDED", 1),
        ({"max_runtime": 0.4}, 1, "MAX_RUNTIME_EXCEEDED", 2),
        ({"all": 0.8}, 5, "DEADLINE_EXCEEDED", 1),
    ],
)
async def test_a_task_that_takes_too_long(
    caller: Caller, tmp_path: Path, seconds: dict[str, float], retries: int, code: str, attempts: int
) -> None:
    """Case C32."""
    spec = limited(gated(tmp_path / "never"), **seconds)
    spec.task_template.metadata.retries.retries = retries
    details = await caller.ended(await caller.start(spec))
    assert (details.status.phase, details.error_info.code) == (TIMED_OUT, code)
    assert [a.phase for a in details.attempts] == [TIMED_OUT] * attempts
    assert all(a.error_info.code == code and a.HasField("end_time") for a in details.attempts)


async def test_its_error_has_the_end_of_its_log(caller: Caller, tmp_path: Path) -> None:
    here = tmp_path / "here"
    waits = f"import pathlib, time; print('step 41'); print('step 42'); pathlib.Path({str(here)!r}).touch()"
    details = await caller.ended(await caller.start(limited(python(f"{waits}; time.sleep(600)"), max_runtime=1)))
    assert here.exists(), "it was too slow to say anything"
    assert details.error_info.code == "MAX_RUNTIME_EXCEEDED"
    assert details.error_info.message == "still running after 1 s; the end of its log:\nstep 41\nstep 42\n"


async def test_a_task_that_is_done_in_time_is_not_touched(caller: Caller) -> None:
    details = await caller.ended(
        await caller.start(limited(python("print('quick')"), max_runtime=30, all=60, queued=30))
    )
    assert details.status.phase == SUCCEEDED


async def test_a_task_that_does_not_listen_is_killed(caller: Caller) -> None:
    details = await caller.ended(await caller.start(limited(python(STUBBORN), max_runtime=0.4)))
    assert (details.status.phase, details.error_info.code) == (TIMED_OUT, "MAX_RUNTIME_EXCEEDED")
