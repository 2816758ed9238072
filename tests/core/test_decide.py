"""What happens to an action next: phase by presence, and what the end of an attempt means."""

import pytest

from alula.core.action import Action, Blame, Failure, Policy
from alula.core.decide import Conclusion, Judge, Move, Release, Retry, Settle, Step, Submit, Wait, conclude, decide
from alula.core.launch import Observation, Presence
from alula.core.phase import Phase
from alula.core.retry import Budget
from alula.core.verdict import Verdict

from .builders import FAILURE, NOW, action, after

_INIT, _RUN = Move(Phase.INITIALIZING), Move(Phase.RUNNING)
_FULL = Move(Phase.WAITING_FOR_RESOURCES)
_ENDED: tuple[Step, ...] = (Wait(), *[Release()] * 6)

# What is seen of the attempt: nothing, ACCEPTED, WAITING, STARTING, RUNNING, EXITED, LOST.
_TABLE: dict[Phase, tuple[Step, ...]] = {
    Phase.QUEUED: (Submit(), Wait(), _FULL, _INIT, _RUN, Judge(), Judge()),
    Phase.WAITING_FOR_RESOURCES: (Submit(), Wait(), Wait(), _INIT, _RUN, Judge(), Judge()),
    Phase.INITIALIZING: (Judge(), Wait(), Wait(), Wait(), _RUN, Judge(), Judge()),
    Phase.RUNNING: (Judge(), Wait(), Wait(), Wait(), Wait(), Judge(), Judge()),
    Phase.PAUSED: (Judge(), Wait(), Wait(), Wait(), Wait(), Judge(), Judge()),
    Phase.SUCCEEDED: _ENDED,
    Phase.FAILED: _ENDED,
    Phase.ABORTED: _ENDED,
    Phase.TIMED_OUT: _ENDED,
    Phase.RECOVERED: _ENDED,
}
_SEEN = (None, *map(Observation, Presence))
_CELLS = [(phase, seen, step) for phase, row in _TABLE.items() for seen, step in zip(_SEEN, row, strict=True)]


def test_the_table_is_whole() -> None:
    assert set(_TABLE) == set(Phase)
    assert {len(row) for row in _TABLE.values()} == {len(_SEEN)}


@pytest.mark.parametrize(("phase", "seen", "step"), _CELLS)
def test_decide(phase: Phase, seen: Observation | None, step: Step) -> None:
    assert decide(action(phase=phase), seen, NOW) == step


@pytest.mark.parametrize(
    ("phase", "seconds", "step"),
    [
        (Phase.QUEUED, 5, Wait(after(5))),
        (Phase.QUEUED, 0, Submit()),
        (Phase.QUEUED, -5, Submit()),
        (Phase.WAITING_FOR_RESOURCES, 5, Wait(after(5))),
        (Phase.INITIALIZING, 5, Judge()),
        (Phase.ABORTED, 5, Wait()),
    ],
)
def test_backoff(phase: Phase, seconds: float, step: Step) -> None:
    assert decide(action(phase=phase, not_before=after(seconds)), None, NOW) == step


def test_backoff_does_not_hide_what_runs() -> None:
    assert decide(action(not_before=after(5)), Observation(Presence.RUNNING), NOW) == _RUN


_OURS = Failure("Interrupted", "gone", Blame.SYSTEM)
_PATIENT = Policy(retries=2, backoff_base=1.0, backoff_factor=2.0)


@pytest.mark.parametrize(
    ("tried", "verdict", "conclusion"),
    [
        (action(), Verdict(), Settle(Phase.SUCCEEDED)),
        (action(), Verdict(FAILURE), Settle(Phase.FAILED, FAILURE)),
        (action(policy=_PATIENT), Verdict(FAILURE), Retry(FAILURE, after(1))),
        (action(policy=_PATIENT, user_failures=1), Verdict(FAILURE), Retry(FAILURE, after(2))),
        (action(policy=_PATIENT, user_failures=2), Verdict(FAILURE), Settle(Phase.FAILED, FAILURE)),
        (action(policy=_PATIENT, user_failures=2), Verdict(_OURS, 3), Retry(_OURS, NOW, Budget.OURS)),
        (action(policy=_PATIENT, system_failures=2), Verdict(_OURS, 3), Retry(_OURS, NOW, Budget.OURS)),
    ],
)
def test_conclude(tried: Action, verdict: Verdict, conclusion: Conclusion) -> None:
    assert conclude(tried, verdict, NOW) == conclusion


def test_conclude_gives_up_on_failures_of_ours() -> None:
    found = conclude(action(policy=_PATIENT, system_failures=3), Verdict(_OURS, 3), NOW)
    assert isinstance(found, Settle)
    assert found.phase is Phase.FAILED
    assert found.failure is not None
    assert found.failure.code == "MaxSystemFailuresExceeded"
