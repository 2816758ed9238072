"""A turn for one attempt that is a job elsewhere: `jobstep.py` decides, and here it is carried out."""

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from alula.base.clock import Clock
from alula.core.errors import Unavailable
from alula.core.taskaction import FINALIZER, Cause, Stage, State
from alula.core.taskstatus import HANDLE
from alula.kube.client import Kube
from alula.kube.objects import NotFound, Object, name_of, version_of
from alula.manager.jobstep import Begin, End, Known, Look, Mark, Step, Unmark, next_step, silent
from alula.manager.plans import Plan
from alula.manager.plugins.base import BadTask, Failed, Remote, Task, Unsure
from alula.manager.record import Record, state_of
from alula.manager.step import LOST, SETTLE, Launching, Report, Tried, Wait, leaving, merged
from alula.manager.world import ACTIONS, World

_log = logging.getLogger(__name__)
_STEPS = 12  # of one turn; more mean that something goes round in circles
_PAUSE = timedelta(seconds=10)  # between two looks, if the plugin says nothing else
_PATIENCE = timedelta(hours=24)  # with who does not let a job be ended
_BROKEN = "PluginFailed"

_T = TypeVar("_T")
MayWrite = Callable[[Object], bool]


class Later(Exception):
    """Nothing more can be done now: look again after a while that grows.

    ``after``: seconds that the cluster has asked to be left alone for.
    """

    def __init__(self, after: float = 0.0) -> None:
        super().__init__()
        self.after = after


@dataclass(slots=True)
class Job:
    """What this process knows of a job and the cluster does not.

    ``told``: its handle is in the status; ``silent``: since when nobody answers.
    """

    tried: Tried = Tried.NOTHING
    handle: bytes = b""
    told: bool = False
    ended: bool = False
    doomed: Cause | None = None
    due: datetime | None = None
    silent: datetime | None = None

    @property
    def stray(self) -> bool:
        """Whether it was begun here, and nobody else can know of it."""
        return bool(self.handle) and not self.told and not self.ended

    @property
    def open(self) -> bool:
        """Whether it may be one: it is being begun at this moment."""
        return self.stray or (self.tried is Tried.UNSURE and not self.handle)


@dataclass(slots=True)
class _Look:
    """One attempt in one turn."""

    action: Object
    plan: Plan
    job: Job

    @property
    def name(self) -> str:
        name: str = self.action["metadata"]["name"]
        return name


class Jobs:
    """All attempts that are no objects of the cluster. They have no limit in time: the control plane ends them."""

    def __init__(self, world: World, kube: Kube, record: Record, clock: Clock, may_write: MayWrite) -> None:
        self._world, self._kube, self._record, self._clock = world, kube, record, clock
        self._may_write = may_write

    async def turn(self, action: Object, plan: Plan, job: Job) -> datetime | None:
        """Bring one attempt in line; when to look again, if nothing changes before.

        Raises:
            Later: it could not be brought in line yet.
            KubeError: the cluster did not do it. Nothing is lost: look again.
        """
        look = _Look(action, plan, job)
        for _ in range(_STEPS):
            step = self._decide(look)
            if not isinstance(step, Wait) and not self._may_write(look.action):
                raise Later
            if (wait := await self._take(look, step)) is not None:
                return wait.until
        raise Later

    async def _take(self, look: _Look, step: Step) -> Wait | None:
        """Take a step; what to wait for then, ``None`` if there is more to do now."""
        match step:
            case Wait():
                return step
            case Mark():
                await self._mark(look)
            case Unmark():
                await self._unmark(look)
                return Wait()
            case Launching(state):
                look.job.tried = Tried.RECORDED  # before: it may be written though no answer says so
                await self._write(look, state)
            case Report(state):
                return None if await self._write(look, state) else Wait()
            case Begin():
                await self._begin(look)
            case End(handle):
                await self._end(look, handle)
            case Look():
                until = await self._see(look)
                return Wait(until) if until is not None else None
        return None

    async def stay_silent(self, action: Object, plan: Plan, job: Job, text: str) -> None:
        """Nobody answers: say so if it lasts.

        Raises:
            Later: always.
        """
        await self._wait(_Look(action, plan, job), silent(state_of(action), text))

    async def abandon(self, action: Object | None, plan: Plan, job: Job) -> None:
        """End a stray job of an attempt that is gone, or that another Manager holds for lost, having no handle of it.

        Raises:
            Later: the other one has not said so yet, or the job cannot be ended for now.
        """
        if action is not None:
            state = state_of(action)
            if state.handle == job.handle:
                return
            if not state.stage.over:
                raise Later
        try:
            await _deleted(plan, job.handle, self._clock())
        except Unavailable as error:
            raise Later from error
        except BadTask as error:
            _leave(plan.request.name if plan.request else "", str(error))

    def _decide(self, look: _Look) -> Step:
        plan, job = look.plan, look.job
        state = self._record.read(look.action, plan)
        job.told = job.told or (bool(job.handle) and state.handle == job.handle)
        known = Known(
            state=state,
            marked=FINALIZER in _finalizers(look.action),
            going=leaving(look.action),
            tried=job.tried,
            handle=job.handle,
            again=plan.remote is not None and plan.task is not None and plan.remote.again(plan.task),
            ended=job.ended,
            due=job.due,
        )
        return next_step(known, plan.problem or job.doomed, self._clock())

    async def _begin(self, look: _Look) -> None:
        job, (remote, task) = look.job, _both(look.plan)
        job.tried = Tried.UNSURE
        try:
            handle = await _called(remote.create(task, self._clock()), Unsure)
        except Unavailable as error:
            job.tried = Tried.RECORDED
            await self._wait(look, State(Stage.WAITING, str(error)))
        except Unsure as error:
            if remote.again(task):
                await self._wait(look, silent(state_of(look.action), str(error)))
            job.doomed = Cause(LOST, f"it is not known whether its job was begun: {error}", system=True)
        except Failed as failure:
            job.doomed = failure.cause
        except BadTask as error:
            job.doomed = _bad(error)
        else:
            job.handle, job.silent = handle, None
            if not 0 < len(handle) <= HANDLE:
                text = f"what is kept of a job has {len(handle)} bytes: 1 to {HANDLE} can be kept"
                job.doomed = Cause(_BROKEN, text, recoverable=False)

    async def _see(self, look: _Look) -> datetime | None:
        """Look at the job; when to look again, ``None`` if there is something to do now."""
        job, (remote, task) = look.job, _both(look.plan)
        state, now = state_of(look.action), self._clock()
        try:
            seen = await _called(remote.get(task, state.handle, now), Unavailable)
        except BadTask as error:
            job.doomed = _bad(error)
            return None
        except Unavailable as error:
            return await self._wait(look, silent(state, str(error)))
        job.silent = None
        target = merged(state, seen.state)
        if target != state:
            await self._write(look, target)
        if target.stage.over:
            return None
        job.due = seen.look_again or now + _PAUSE
        return job.due

    async def _end(self, look: _Look, handle: bytes) -> None:
        """End the job; who cannot be made to end it within a day is left alone, and the job too."""
        try:
            await _deleted(look.plan, handle, self._clock())
        except BadTask as error:
            _leave(look.name, str(error))
        except Unavailable as error:
            if not self._is_old(look.action):
                text = f"its job cannot be ended: {error}"
                await self._wait(look, silent(state_of(look.action), text))
            _leave(look.name, str(error))
        look.job.ended = True

    def _is_old(self, action: Object) -> bool:
        since = action["metadata"].get("deletionTimestamp")
        return bool(since) and self._clock() - datetime.fromisoformat(since) > _PATIENCE

    async def _wait(self, look: _Look, state: State) -> datetime | None:
        """Nobody answers, or not as it would help: try again later, and say so if that lasts."""
        job, now = look.job, self._clock()
        job.silent = job.silent or now
        if now - job.silent >= SETTLE:
            await self._write(look, state)
        raise Later

    async def _write(self, look: _Look, state: State) -> bool:
        written = await self._record.write(look.action, look.plan, state)
        look.action = written or look.action
        return written is not None

    async def _mark(self, look: _Look) -> None:
        look.action = await self._finalize(look, [*_finalizers(look.action), FINALIZER])
        self._world.put(ACTIONS, look.action)

    async def _unmark(self, look: _Look) -> None:
        """With its last finalizer a TaskAction that is being deleted goes."""
        left = [one for one in _finalizers(look.action) if one != FINALIZER]
        with suppress(NotFound):
            found = await self._finalize(look, left)
            if not leaving(found):
                self._world.put(ACTIONS, found)

    async def _finalize(self, look: _Look, wanted: list[str]) -> Object:
        """Have a TaskAction have these finalizers, if it still is as it was seen."""
        change = {"finalizers": wanted or None, "resourceVersion": version_of(look.action)}
        return await self._kube.patch(ACTIONS, name_of(look.action), {"metadata": change})


def _leave(name: str, why: str) -> None:
    _log.warning("%s: its job may run on, it cannot be ended from here: %s", name, why)


async def _called(call: Awaitable[_T], otherwise: type[Exception]) -> _T:
    """What a plugin answers; whatever it raises that it has not promised is as if it had not answered."""
    try:
        return await call
    except (Unavailable, Unsure, Failed, BadTask):
        raise
    except Exception as error:
        _log.exception("a plugin failed")
        raise otherwise(f"the plugin failed: {type(error).__name__}: {error}") from error


async def _deleted(plan: Plan, handle: bytes, now: datetime) -> None:
    if plan.waits:
        raise Unavailable(plan.waits)
    if plan.remote is None or plan.task is None:
        raise BadTask("there is no plugin for it any more")
    await _called(plan.remote.delete(plan.task, handle, now), Unavailable)


def _both(plan: Plan) -> tuple[Remote, Task]:
    assert plan.remote is not None, "nothing is begun without a plugin"
    assert plan.task is not None, "nothing is begun that is not known"
    return plan.remote, plan.task


def _bad(error: BadTask) -> Cause:
    return Cause(error.code, str(error), recoverable=False)


def _finalizers(action: Object) -> list[str]:
    return list(action["metadata"].get("finalizers") or ())
