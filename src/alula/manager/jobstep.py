"""What to do next about an attempt that is a job elsewhere: a pure function, as `step.py` is for objects of a cluster.

That nothing is begun twice, and nothing is forgotten, whenever a Manager dies, rests on an order: a finalizer, so that
somebody ends the job; the status says that it is launched; the job is begun; its handle is in the status. A Manager
that finds an attempt launched and no handle does not know whether there is a job. It begins one only if its plugin
finds the first again (`Remote.again`); else the attempt is lost, and another one follows.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from alula.core.taskaction import Cause, Stage, State
from alula.manager.step import LOST, Launching, Report, Tried, Wait, launched

_BEGINNING = "its job is being begun"
_LOST = "it is not known whether its job was begun: whoever was about to begin it was stopped, or had no answer"


@dataclass(frozen=True, slots=True)
class Known:
    """An attempt as it is now. ``marked``: its finalizer is there; ``going``: its TaskAction is being deleted.

    ``handle`` is that of the job that this process has begun; ``again``: a job that may be there can be begun again and
    is the same; ``ended``: this process has ended the job, or given up. ``due``: when to look at the job, not before.
    """

    state: State
    marked: bool = False
    going: bool = False
    tried: Tried = Tried.NOTHING
    handle: bytes = b""
    again: bool = False
    ended: bool = False
    due: datetime | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """Put the finalizer on it."""


@dataclass(frozen=True, slots=True)
class Unmark:
    """Take the finalizer off: there is nothing to end any more."""


@dataclass(frozen=True, slots=True)
class Begin:
    """Have the job begin."""


@dataclass(frozen=True, slots=True)
class Look:
    """See what has become of the job."""


@dataclass(frozen=True, slots=True)
class End:
    """End the job. ``handle`` is empty if it is not known whether there is one."""

    handle: bytes


Step = Mark | Unmark | Launching | Begin | Look | End | Report | Wait


def next_step(known: Known, problem: Cause | None, now: datetime) -> Step:
    """What to do. ``problem``: why the attempt cannot be carried out, or not any further."""
    state = known.state
    if known.going or state.stage.over:
        return _after_end(known)
    if problem is not None:
        handle = known.handle or state.handle
        return End(handle) if handle and not known.ended else Report(failed(state, problem, now))
    if state.handle:
        return Wait(known.due) if known.due is not None and now < known.due else Look()
    if known.handle:
        return Report(replace(state, handle=known.handle))
    if not launched(state):
        return Launching(State(Stage.INITIALIZING, _BEGINNING)) if known.marked else Mark()
    if known.tried is Tried.RECORDED or known.again:
        return Begin()
    return Report(failed(state, Cause(LOST, _LOST, system=True), now))


def _after_end(known: Known) -> Step:
    """Nobody waits for it. What is over has ended by itself, but for a job whose handle came too late to be told."""
    state, handle = known.state, known.handle or known.state.handle
    if state.stage.over:
        there = bool(known.handle) and known.handle != state.handle
    else:
        there = bool(handle) or (known.marked and launched(state))
    if there and not known.ended:
        return End(handle)
    return Unmark() if known.marked else Wait()


def failed(state: State, cause: Cause, now: datetime) -> State:
    """The end of an attempt that comes to nothing."""
    return replace(state, stage=Stage.FAILED, reason=cause.message, cause=cause, ended_at=now)


def silent(state: State, text: str) -> State:
    """What is told of an attempt while nobody answers; the same as before if that has been told."""
    if launched(state) or state.stage.over:
        return replace(state, reason=text)
    return State(Stage.WAITING, text)
