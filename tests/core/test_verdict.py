"""What an ended attempt amounts to: the rows of executor.md 8.4 that processes can show."""

from dataclasses import replace

import pytest

from alula.core.action import Blame, Failure
from alula.core.launch import Observation, Presence
from alula.core.taskaction import Cause
from alula.core.verdict import Verdict, Written, judge

_USER = Failure("ValueError", "no", Blame.USER, recoverable=True)
_FINAL = Failure("ValueError", "no", Blame.USER, recoverable=False)
_SYSTEM = Failure("RuntimeSystemError", "child", Blame.SYSTEM, recoverable=True)
_NOTHING, _OUTPUTS = Written(), Written(outputs=True)
_LOST = Observation(Presence.LOST)

_OOM = Cause("OOMKilled", "the container main ended with exit code 137 (OOMKilled)")
_KILLED = Cause("Interrupted", "the container main ended with exit code 137", system=True)
_EVICTED = Cause("Interrupted", "the pod was ended by its node or for another", system=True)
_DELETED = Cause("ResourceDeletedExternally", "the pod was deleted, and not by alula", system=True)
_NO_INPUTS = Cause("DownloadFailed", "the container flyte-copilot-downloader ended with exit code 1", system=True)
_EXITED = Cause("ContainerFailed", "the container main ended with exit code 3")
_NO_IMAGE = Cause("ContainersNotReady|InvalidImageName", "the image cannot be", recoverable=False)


def _caused(cause: Cause, code: int | None = None) -> Observation:
    return Observation(Presence.EXITED, exit_code=code, cause=cause, out_of_memory=cause.code == "OOMKilled")


def _exited(code: int | None = None, *, signal: int | None = None, oom: bool = False) -> Observation:
    return Observation(Presence.EXITED, exit_code=code, signal=signal, out_of_memory=oom)


@pytest.mark.parametrize("failure", [_USER, _FINAL, _SYSTEM])
@pytest.mark.parametrize("outputs", [False, True])
@pytest.mark.parametrize(
    "seen", [_exited(0), _exited(1), _exited(127), _exited(137), _exited(signal=9), _exited(signal=9, oom=True), _LOST]
)
def test_an_error_document_decides_before_all_else(seen: Observation, outputs: bool, failure: Failure) -> None:
    """Also one that blames the system: user code said so, and it counts against the task's retries."""
    assert judge(seen, Written(error=failure, outputs=outputs), expects_outputs=True) == Verdict(failure, 0)


@pytest.mark.parametrize(
    ("seen", "written", "expects"),
    [
        (_exited(0), _OUTPUTS, True),
        (_exited(0), _OUTPUTS, False),
        (_exited(0), _NOTHING, False),
        (_exited(signal=9), _OUTPUTS, True),
        (_exited(signal=15), _OUTPUTS, False),
        (_exited(signal=9, oom=True), _OUTPUTS, True),
        (_LOST, _OUTPUTS, True),
        (_LOST, _OUTPUTS, False),
    ],
)
def test_success(seen: Observation, written: Written, expects: bool) -> None:
    """Outputs are the last thing an attempt writes: dying after them takes nothing back."""
    assert judge(seen, written, expects_outputs=expects) == Verdict()


@pytest.mark.parametrize(
    ("seen", "written", "expects", "code", "blame", "forgiven"),
    [
        (_exited(0), _NOTHING, True, "OutputsNotFound", Blame.SYSTEM, 1),
        (_exited(1), _NOTHING, True, "ContainerFailed", Blame.USER, 0),
        (_exited(1), _OUTPUTS, True, "ContainerFailed", Blame.USER, 0),
        (_exited(2), _NOTHING, False, "ContainerFailed", Blame.USER, 0),
        (_exited(127), _NOTHING, False, "ContainerFailed", Blame.USER, 0),
        (_exited(255), _NOTHING, False, "ContainerFailed", Blame.USER, 0),
        (_exited(signal=9, oom=True), _NOTHING, True, "OOMKilled", Blame.USER, 0),
        (_exited(1, oom=True), _NOTHING, True, "OOMKilled", Blame.USER, 0),
        (_exited(137, oom=True), _NOTHING, False, "OOMKilled", Blame.USER, 0),
        (_exited(signal=9), _NOTHING, True, "Interrupted", Blame.SYSTEM, 3),
        (_exited(137), _NOTHING, True, "Interrupted", Blame.SYSTEM, 3),
        (_exited(247), _NOTHING, False, "Interrupted", Blame.SYSTEM, 3),
        (_exited(signal=11), _NOTHING, False, "Interrupted", Blame.SYSTEM, 3),
        (_exited(signal=15), _NOTHING, False, "Interrupted", Blame.SYSTEM, 3),
        (_LOST, _NOTHING, True, "Interrupted", Blame.SYSTEM, 20),
        (_LOST, _NOTHING, False, "Interrupted", Blame.SYSTEM, 20),
    ],
)
def test_failure(seen: Observation, written: Written, expects: bool, code: str, blame: Blame, forgiven: int) -> None:
    found = judge(seen, written, expects_outputs=expects)
    assert found.failure is not None
    assert (found.failure.code, found.failure.blame, found.forgiven) == (code, blame, forgiven)
    assert found.failure.recoverable, "whether it is tried again is the budget's to say"


@pytest.mark.parametrize(
    ("seen", "says"),
    [
        (Observation(Presence.EXITED, exit_code=3, log_tail="Traceback"), "exited with code 3"),
        (Observation(Presence.EXITED, signal=11, log_tail="Traceback"), "signal 11"),
        (Observation(Presence.EXITED, signal=9, log_tail="Traceback"), "killed"),
        (Observation(Presence.EXITED, signal=9, out_of_memory=True, log_tail="Traceback"), "memory"),
        (Observation(Presence.LOST, log_tail="Traceback"), "gone"),
    ],
)
def test_the_message_says_what_was_seen_and_ends_with_the_log(seen: Observation, says: str) -> None:
    failure = judge(seen, _NOTHING, expects_outputs=True).failure
    assert failure is not None
    assert says in failure.message
    assert failure.message.endswith("\nTraceback")


def test_a_child_that_ran_out_of_memory_is_the_reason_of_what_the_task_says() -> None:
    seen = Observation(Presence.EXITED, exit_code=0, out_of_memory=True)
    told = Failure("CalledProcessError", "exit code -9", Blame.USER, recoverable=False)
    found = judge(seen, Written(error=told), expects_outputs=True)
    text = "a process of the task ran out of memory; the task said: CalledProcessError: exit code -9"
    assert found == Verdict(Failure("OOMKilled", text, Blame.USER, recoverable=False))


@pytest.mark.parametrize(
    ("code", "outputs", "expects", "failure"),
    [(0, True, True, None), (0, False, False, None), (0, False, True, "OOMKilled"), (1, False, True, "OOMKilled")],
)
def test_who_does_without_a_child_that_ran_out_of_memory_has_succeeded(
    code: int, outputs: bool, expects: bool, failure: str | None
) -> None:
    seen = Observation(Presence.EXITED, exit_code=code, out_of_memory=True)
    found = judge(seen, Written(outputs=outputs), expects_outputs=expects).failure
    assert (found.code if found is not None else None) == failure


def test_who_took_too_much_of_the_disk_is_told() -> None:
    seen = Observation(Presence.EXITED, signal=9, exceeded="too much disk: 2 of 1", log_tail="Traceback")
    text = "too much disk: 2 of 1; the end of its log:\nTraceback"
    assert judge(seen, _NOTHING, expects_outputs=True) == Verdict(Failure("EphemeralStorageExceeded", text, Blame.USER))
    assert judge(seen, Written(outputs=True), expects_outputs=True) == Verdict(), "its work was done"


def test_without_a_log_nothing_is_said_of_it() -> None:
    failure = judge(_exited(3), _NOTHING, expects_outputs=False).failure
    assert failure is not None
    assert failure.message == "the process exited with code 3"


_GONE = "Generic S3 error: HTTP error: error sending request"
_UNSERVED = replace(_exited(1), unserved=True)


@pytest.mark.parametrize(
    ("seen", "written", "forgiven"),
    [
        (replace(_UNSERVED, log_tail=_GONE), _NOTHING, 20),
        (replace(_UNSERVED, exit_code=0), Written(error=replace(_USER, message=_GONE)), 20),
        (replace(_UNSERVED, log_tail=_GONE, unserved=False), _NOTHING, 0),
        (replace(_UNSERVED, log_tail="ValueError"), _NOTHING, 0),
        (replace(_UNSERVED, log_tail=_GONE), Written(error=_USER), 0),
    ],
)
def test_who_could_not_reach_a_server_that_was_gone_is_forgiven(
    seen: Observation, written: Written, forgiven: int
) -> None:
    verdict = judge(seen, written, expects_outputs=True)
    assert verdict.failure is not None
    assert verdict.forgiven == forgiven


def test_who_did_without_a_server_that_was_gone_has_succeeded() -> None:
    seen = replace(_UNSERVED, exit_code=0, log_tail=_GONE)
    assert judge(seen, _OUTPUTS, expects_outputs=True) == Verdict()


@pytest.mark.parametrize(
    ("seen", "blame", "forgiven"),
    [
        (_caused(_OOM, 137), Blame.USER, 0),
        (_caused(_KILLED, 137), Blame.SYSTEM, 3),
        (_caused(_EVICTED), Blame.SYSTEM, 20),
        (_caused(_NO_INPUTS), Blame.SYSTEM, 3),
        (_caused(_DELETED), Blame.SYSTEM, 20),
        (_caused(_EXITED, 3), Blame.USER, 0),
        (_caused(_NO_IMAGE), Blame.USER, 0),
    ],
)
@pytest.mark.parametrize("expects", [True, False])
def test_what_a_cluster_says_is_the_failure(seen: Observation, expects: bool, blame: Blame, forgiven: int) -> None:
    assert seen.cause is not None
    failure = Failure(seen.cause.code, seen.cause.message, blame, seen.cause.recoverable)
    assert judge(seen, _NOTHING, expects_outputs=expects) == Verdict(failure, forgiven)


@pytest.mark.parametrize("cause", [_OOM, _KILLED, _DELETED])
def test_what_a_cluster_ended_after_its_work_was_done_has_succeeded(cause: Cause) -> None:
    assert judge(_caused(cause), _OUTPUTS, expects_outputs=True) == Verdict()


@pytest.mark.parametrize("cause", [_EXITED, _NO_IMAGE])
def test_what_failed_by_itself_in_a_cluster_has_failed(cause: Cause) -> None:
    failure = judge(_caused(cause), _OUTPUTS, expects_outputs=True).failure
    assert failure is not None
    assert failure.code == cause.code


@pytest.mark.parametrize("cause", [_KILLED, _DELETED, _EXITED, _NO_IMAGE])
def test_an_error_document_goes_before_what_a_cluster_says(cause: Cause) -> None:
    assert judge(_caused(cause, 1), Written(error=_USER), expects_outputs=True) == Verdict(_USER)


def test_a_task_that_says_what_came_of_too_little_memory() -> None:
    failure = judge(_caused(_OOM, 1), Written(error=_USER), expects_outputs=True).failure
    assert failure is not None
    assert failure.code == "OOMKilled"
    assert "ValueError: no" in failure.message
