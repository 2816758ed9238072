"""What is next for a job elsewhere: every situation that it may be in, and what is told while nobody answers."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from alula.core.taskaction import Cause, Stage, State
from alula.manager.jobstep import Begin, End, Known, Look, Mark, Step, Unmark, next_step, silent
from alula.manager.step import LOST, Launching, Report, Tried, Wait

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SOON = NOW + timedelta(seconds=1)
BAD = Cause("PluginNotFound", "no plugin", recoverable=False)

QUEUED, WAITING = State(), State(Stage.WAITING, "nobody answers")
LAUNCHING = State(Stage.INITIALIZING, "its job is being begun")
RUNNING = State(Stage.RUNNING, handle=b"j1")
UNPLACED = State(Stage.QUEUED, handle=b"j1")
DONE = State(Stage.SUCCEEDED, handle=b"j1")
DEAD = State(Stage.FAILED, "no plugin", BAD, ended_at=NOW)
GONE = State(Stage.FAILED, "lost", Cause(LOST, "lost", system=True))


def known(state: State, **more: object) -> Known:
    return replace(Known(state, marked=True), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("situation", "expected"),
    [
        # The finalizer, the record, the job, its handle: in this order.
        (known(QUEUED, marked=False), Mark()),
        (known(WAITING, marked=False), Mark()),
        (known(QUEUED), Launching(LAUNCHING)),
        (known(WAITING), Launching(LAUNCHING)),
        (known(LAUNCHING, tried=Tried.RECORDED), Begin()),
        (known(LAUNCHING, handle=b"j1"), Report(replace(LAUNCHING, handle=b"j1"))),
        (known(RUNNING), Look()),
        (known(UNPLACED), Look()),
        (known(RUNNING, due=NOW), Look()),
        (known(RUNNING, due=SOON), Wait(SOON)),
        # Another Manager has recorded it and died; or there was no answer.
        (known(LAUNCHING), LOST),
        (known(LAUNCHING, tried=Tried.UNSURE), LOST),
        (known(LAUNCHING, again=True), Begin()),
        (known(LAUNCHING, tried=Tried.UNSURE, again=True), Begin()),
        # What is over needs nobody any more.
        (known(DONE), Unmark()),
        (known(DONE, marked=False), Wait()),
        (known(DEAD, marked=False), Wait()),
        # Somebody else has called it lost while it was begun here.
        (known(GONE, handle=b"j2"), End(b"j2")),
        (known(GONE, handle=b"j2", marked=False), End(b"j2")),
        (known(GONE, handle=b"j2", ended=True), Unmark()),
        (known(DONE, handle=b"j1"), Unmark()),
        # An abort, before and after anything is there.
        (known(QUEUED, going=True, marked=False), Wait()),
        (known(QUEUED, going=True), Unmark()),
        (known(WAITING, going=True), Unmark()),
        (known(LAUNCHING, going=True), End(b"")),
        (known(LAUNCHING, going=True, handle=b"j1"), End(b"j1")),
        (known(RUNNING, going=True), End(b"j1")),
        (known(RUNNING, going=True, due=SOON), End(b"j1")),
        (known(RUNNING, going=True, ended=True), Unmark()),
        (known(DONE, going=True), Unmark()),
    ],
)
def test_what_is_next(situation: Known, expected: Step | str) -> None:
    step = next_step(situation, None, NOW)
    if isinstance(expected, str):
        assert isinstance(step, Report)
        assert step.state.cause
        assert (step.state.stage, step.state.cause.code, step.state.cause.system) == (Stage.FAILED, expected, True)
        assert step.state.ended_at == NOW
    else:
        assert step == expected


@pytest.mark.parametrize(
    ("situation", "expected"),
    [
        (known(QUEUED, marked=False), Report(DEAD)),
        (known(QUEUED), Report(DEAD)),
        (known(RUNNING), End(b"j1")),
        (known(LAUNCHING, handle=b"j1"), End(b"j1")),
        (known(RUNNING, ended=True), Report(replace(DEAD, handle=b"j1"))),
        (known(DONE), Unmark()),
        (known(RUNNING, going=True), End(b"j1")),
    ],
)
def test_what_cannot_go_on_is_ended_first(situation: Known, expected: Step) -> None:
    assert next_step(situation, BAD, NOW) == expected


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (QUEUED, State(Stage.WAITING, "no answer")),
        (WAITING, State(Stage.WAITING, "no answer")),
        (LAUNCHING, State(Stage.INITIALIZING, "no answer")),
        (RUNNING, State(Stage.RUNNING, "no answer", handle=b"j1")),
        (UNPLACED, State(Stage.QUEUED, "no answer", handle=b"j1")),
    ],
)
def test_silence_is_told_and_takes_nothing_back(state: State, expected: State) -> None:
    assert silent(state, "no answer") == expected
