"""What an ended attempt amounts to: the classification of executor.md 8.4, as one pure function."""

from dataclasses import dataclass

from alula.core.action import Blame, Failure
from alula.core.launch import Observation, Presence

OUT_OF_MEMORY = "OOMKilled"  # the SDK makes an OOMError of every code that has OOM in it

TOO_MUCH_DISK = "EphemeralStorageExceeded"

_SIGKILL = 9
_KILLED = 3  # something kills it from outside, and may do so again: upstream's budget
_LOST = 20  # mostly this server was restarted: its users' work is not to fail by that
_INCOMPLETE = 1
_INTERRUPTED, _DELETED = "Interrupted", "ResourceDeletedExternally"
_UNREACHED = "error sending request"  # as the SDK's clients say it, of the object store and of the services


@dataclass(frozen=True, slots=True)
class Written:
    """What an attempt left in its output prefix."""

    error: Failure | None = None  # its error.pb
    outputs: bool = False  # an outputs.pb is there
    report: bool = False  # a report.html is there


@dataclass(frozen=True, slots=True)
class Verdict:
    """``failure`` is ``None`` for a success.

    ``forgiven``: 0 for a failure of the attempt's own, which counts against the task's retries; else up to how many
    failures that are not its own an action is forgiven when this is the next.
    """

    failure: Failure | None = None
    forgiven: int = 0


def judge(seen: Observation, written: Written, *, expects_outputs: bool) -> Verdict:
    """Decide how an attempt that is over ended.

    An error document decides before all else: a0 exits 0 after one. But if the server was gone and the task could not
    reach it, or the kernel killed a process of the task's for lack of memory, that is the reason of what the task says.
    Outputs are the last thing an attempt writes, and only it writes there: once they exist, a death by signal or one
    that nobody saw came after its work was done.
    """
    if seen.unserved and _unreached(seen, written):
        return _interrupted("the server was gone for longer than the task could wait for it", seen, _LOST)
    if written.error is not None:
        return Verdict(_caused(written.error, seen))
    if written.outputs and _cut_short(seen):
        return Verdict()
    if (told := _told(seen)) is not None:
        return told
    if seen.presence is Presence.LOST:
        return _interrupted("the process is gone and nobody saw how it ended", seen, _LOST)
    if seen.exceeded and seen.signal is not None:
        return Verdict(Failure(TOO_MUCH_DISK, _explain(seen.exceeded, seen), Blame.USER))
    if seen.out_of_memory and (seen.signal is not None or seen.exit_code or (expects_outputs and not written.outputs)):
        return Verdict(Failure(OUT_OF_MEMORY, _explain("the process ran out of memory", seen), Blame.USER))
    if seen.signal == _SIGKILL or seen.exit_code in (137, 247):
        return _interrupted("the process was killed", seen)
    if seen.signal is not None:
        return _interrupted(f"signal {seen.signal} ended the process", seen)
    if seen.exit_code:
        text = _explain(f"the process exited with code {seen.exit_code}", seen)
        return Verdict(Failure("ContainerFailed", text, Blame.USER))
    if expects_outputs and not written.outputs:
        text = _explain("the task declares outputs, and wrote none", seen)
        return Verdict(Failure("OutputsNotFound", text, Blame.SYSTEM), _INCOMPLETE)
    return Verdict()


def _cut_short(seen: Observation) -> bool:
    """Whether it was ended from outside, and not by what it did."""
    if seen.cause is not None:
        return seen.cause.system or seen.cause.code == OUT_OF_MEMORY
    return seen.presence is Presence.LOST or seen.signal is not None


def _told(seen: Observation) -> Verdict | None:
    """What its executor has made of it: it could not be started, or a cluster has judged it by the same table."""
    if seen.refused:
        return Verdict(Failure("ImageBuildError", seen.refused, Blame.USER, recoverable=False))
    if (cause := seen.cause) is None:
        return None
    blame = Blame.SYSTEM if cause.system else Blame.USER
    failure = Failure(cause.code, _explain(cause.message, seen), blame, recoverable=cause.recoverable)
    if not cause.system or not cause.recoverable:
        return Verdict(failure)
    # Its machine, or what it was, was taken away; or it was its program alone that a signal ended.
    taken = cause.code == _DELETED or (cause.code == _INTERRUPTED and seen.exit_code is None)
    return Verdict(failure, _LOST if taken else _KILLED)


def _unreached(seen: Observation, written: Written) -> bool:
    if written.error is not None:
        return _UNREACHED in written.error.message
    return not written.outputs and bool(seen.exit_code) and _UNREACHED in seen.log_tail


def _interrupted(what: str, seen: Observation, forgiven: int = _KILLED) -> Verdict:
    return Verdict(Failure(_INTERRUPTED, _explain(what, seen), Blame.SYSTEM), forgiven)


def _caused(error: Failure, seen: Observation) -> Failure:
    """What a task says of its failure, unless that is what came of a process of it that ran out of memory."""
    if not seen.out_of_memory or seen.signal is not None:
        return error
    text = f"a process of the task ran out of memory; the task said: {error.code}: {error.message}"
    return Failure(OUT_OF_MEMORY, text, Blame.USER, recoverable=error.recoverable)


def explain(what: str, tail: str) -> str:
    """What became of an attempt, and the end of its log, if it has one."""
    return f"{what}; the end of its log:\n{tail}" if tail else what


def _explain(what: str, seen: Observation) -> str:
    return explain(what, seen.log_tail)
