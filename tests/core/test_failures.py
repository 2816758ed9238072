"""How attempts end, row by row (executor.md 8.4): what the SDK is told, and out of which budget it is tried again."""

from dataclasses import dataclass
from typing import Any

import pytest

from alula.core.action import Action, Blame, Failure, Policy
from alula.core.decide import Expire, Retry, Settle, conclude, conclude_expired, decide
from alula.core.launch import Observation, Presence
from alula.core.phase import Phase
from alula.core.retry import Budget
from alula.core.verdict import Written, judge

from .builders import NOW, action, after

_TAIL = "Traceback\nValueError: the last line"


def exited(code: int, **more: Any) -> Observation:
    return Observation(Presence.EXITED, exit_code=code, log_tail=_TAIL, **more)


def killed(signal: int, *, oom: bool = False) -> Observation:
    return Observation(Presence.EXITED, signal=signal, out_of_memory=oom, log_tail=_TAIL)


def wrote(code: str, blame: Blame = Blame.USER, *, recoverable: bool = True) -> Written:
    return Written(Failure(code, "what the task says", blame, recoverable))


_LOST = Observation(Presence.LOST, log_tail=_TAIL)
_NOTHING = Written()


@dataclass(frozen=True)
class Row:
    """``tries``: how often it is tried, in all, by a task that allows two retries and always ends like this."""

    seen: Observation
    written: Written
    code: str
    blame: Blame
    budget: Budget | None
    tries: int
    last: str = ""  # the code in the end, if that is another one


_TASK, _OURS = Budget.TASK, Budget.OURS
_U, _S = Blame.USER, Blame.SYSTEM
_GAVE_UP = "MaxSystemFailuresExceeded"

_ROWS = {
    "exit 0 + error.pb RECOVERABLE": Row(exited(0), wrote("ValueError"), "ValueError", _U, _TASK, 3),
    "exit 0 + error.pb RECOVERABLE, origin SYSTEM": Row(exited(0), wrote("E", _S), "E", _S, _TASK, 3),
    "exit 0 + error.pb NON_RECOVERABLE": Row(exited(0), wrote("E", recoverable=False), "E", _U, None, 1),
    "exit 0, outputs declared, none written": Row(exited(0), _NOTHING, "OutputsNotFound", _S, _OURS, 2, _GAVE_UP),
    "exit 1 with error.pb": Row(exited(1), wrote("ImportError"), "ImportError", _U, _TASK, 3),
    "exit 200 with error.pb": Row(exited(200), wrote("E"), "E", _U, _TASK, 3),
    "exit 1 without error.pb": Row(exited(1), _NOTHING, "ContainerFailed", _U, _TASK, 3),
    "exit 127 without error.pb": Row(exited(127), _NOTHING, "ContainerFailed", _U, _TASK, 3),
    "exit 255 without error.pb": Row(exited(255), _NOTHING, "ContainerFailed", _U, _TASK, 3),
    "OOM": Row(killed(9, oom=True), _NOTHING, "OOMKilled", _U, _TASK, 3),
    "OOM of a child process": Row(exited(1, out_of_memory=True), _NOTHING, "OOMKilled", _U, _TASK, 3),
    "OOM after an error.pb": Row(killed(9, oom=True), wrote("E"), "E", _U, _TASK, 3),
    "SIGKILL without evidence": Row(killed(9), _NOTHING, "Interrupted", _S, _OURS, 4, _GAVE_UP),
    "exit 137": Row(exited(137), _NOTHING, "Interrupted", _S, _OURS, 4, _GAVE_UP),
    "exit 247": Row(exited(247), _NOTHING, "Interrupted", _S, _OURS, 4, _GAVE_UP),
    "SIGSEGV": Row(killed(11), _NOTHING, "Interrupted", _S, _OURS, 4, _GAVE_UP),
    "machine restarted, worker lost": Row(_LOST, _NOTHING, "Interrupted", _S, _OURS, 21, _GAVE_UP),
    "killed after an error.pb": Row(killed(9), wrote("E"), "E", _U, _TASK, 3),
}


def _played(row: Row) -> tuple[Action, list[Retry], Settle]:
    """The attempts of an action all of which end alike."""
    now = action(policy=Policy(retries=2, outputs=True), phase=Phase.RUNNING)
    retries: list[Retry] = []
    while True:
        conclusion = conclude(now, judge(row.seen, row.written, expects_outputs=True), NOW)
        if isinstance(conclusion, Settle):
            return now, retries, conclusion
        retries.append(conclusion)
        counts = {
            "user_failures": now.user_failures + (conclusion.budget is Budget.TASK),
            "system_failures": now.system_failures + (conclusion.budget is Budget.OURS),
        }
        now = action(policy=now.policy, phase=Phase.RUNNING, **counts)


@pytest.mark.parametrize("row", _ROWS.values(), ids=_ROWS.keys())
def test_a_failure(row: Row) -> None:
    failure = judge(row.seen, row.written, expects_outputs=True).failure
    assert failure is not None
    assert (failure.code, failure.blame) == (row.code, row.blame)
    _, retries, settled = _played(row)
    assert len(retries) + 1 == row.tries
    assert all((one.failure, one.budget) == (failure, row.budget) for one in retries)
    assert settled.phase is Phase.FAILED
    assert settled.failure is not None
    assert settled.failure.code == (row.last or row.code), "the last failure is kept as it is"
    if row.written.error is None:
        assert settled.failure.message.endswith(_TAIL), "the end of the log is in the message"


@pytest.mark.parametrize(
    ("limit", "at", "code", "tries"),
    [
        ({"max_runtime": 5.0}, {"phase": Phase.RUNNING, "started_at": NOW}, "MAX_RUNTIME_EXCEEDED", 3),
        ({"queued_timeout": 5.0}, {"phase": Phase.QUEUED}, "QUEUED_TIMEOUT_EXCEEDED", 3),
        ({"queued_timeout": 5.0}, {"phase": Phase.WAITING_FOR_RESOURCES}, "QUEUED_TIMEOUT_EXCEEDED", 3),
        ({"deadline": 5.0}, {"phase": Phase.RUNNING, "started_at": NOW}, "DEADLINE_EXCEEDED", 1),
    ],
)
def test_timeouts_take_retries_and_a_deadline_none(
    limit: dict[str, Any], at: dict[str, Any], code: str, tries: int
) -> None:
    policy = Policy(retries=2, **limit)
    for failures in range(tries):
        late = action(policy=policy, user_failures=failures, **at)
        step = decide(late, None if late.phase < Phase.RUNNING else Observation(Presence.RUNNING), after(6))
        assert isinstance(step, Expire)
        assert (step.failure.code, step.failure.blame) == (code, _U)
        conclusion = conclude_expired(late, step.failure, after(6))
        if failures + 1 < tries:
            assert conclusion == Retry(step.failure, after(6), _TASK)
        else:
            assert conclusion == Settle(Phase.TIMED_OUT, step.failure)
