"""Values for the tests of the core, each with one thing changed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from alula.core.action import Action, Event, Failure, Kind, Policy, TaskRef
from alula.core.ids import ROOT, ActionId, RunId
from alula.core.phase import Phase

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
RUN = RunId("flytesnacks", "development", "r1")
FAILURE = Failure("E", "it broke")

_ACTION = Action(
    run_key=1,
    id=ActionId(RUN, ROOT),
    org="",
    labels={},
    relation=b"",
    parent=None,
    kind=Kind.TASK,
    group="",
    phase=Phase.QUEUED,
    attempt=1,
    version=0,
    seq=1,
    parent_attempt=0,
    created_at=NOW,
    queued_at=NOW,
    started_at=None,
    ended_at=None,
    not_before=None,
    user_failures=0,
    system_failures=0,
    logged=False,
    abort_reason="",
    input_uri="",
    output_uri="s3://alula/runs/r1/a0/1",
    base_uri="s3://alula/runs/r1",
    failure=None,
    policy=Policy(),
    task=TaskRef(project="flytesnacks", domain="development", name="t.main", version="v1"),
    spec=b"",
)


def action(**changes: Any) -> Action:
    return replace(_ACTION, **changes)


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def event(seq: int, phase: Phase, *, attempt: int = 1, **more: Any) -> Event:
    """What happened ``seq`` seconds after `NOW`, as the ``seq``-th event of its run."""
    return Event(ROOT, attempt, phase, **{"version": seq, "at": after(seq), "seq": seq, **more})
