"""A turn for one attempt: see what there is, have `step.py` decide, carry it out, until there is nothing left to do."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from alula.base.clock import Clock
from alula.core.taskaction import Cause, Stage, State
from alula.kube.client import Kube
from alula.kube.objects import Conflict, Kind, KubeError, Name, NotFound, Object, name_of, owner_of
from alula.manager.jobs import Job, Jobs, Later
from alula.manager.owned import owned
from alula.manager.plans import Plan, Plans, built
from alula.manager.plugins.base import Seen
from alula.manager.podspec.copilot import GRACE
from alula.manager.record import Hears, Record, state_of
from alula.manager.step import (
    Ask,
    Create,
    Delete,
    Known,
    Launching,
    Report,
    Retry,
    Step,
    Tried,
    Wait,
    after_create,
    leaving,
    next_step,
)
from alula.manager.world import ACTIONS, World

_STEPS = 8  # of one turn; more mean that something goes round in circles


class NotOurs(Exception):
    """Another Manager looks after it."""


class Far(Exception):
    """It takes others than the cluster, who may be slow: have it done where nobody waits for it."""


@dataclass(frozen=True, slots=True)
class Outside:
    """What attempts meet: the cluster, the time, who hears of them.

    ``ours``: what this Manager looks after, among several. ``may_write``: whether it may do something about it at this
    moment; if not it will soon, or it is not ours any more.
    """

    kube: Kube
    clock: Clock
    hears: Hears
    ours: Callable[[Object], bool] = lambda _: True
    may_write: Callable[[Object], bool] = lambda _: True


@dataclass(slots=True)
class _Memory:
    """What is known of an attempt and is not in the cluster."""

    uid: str
    tried: Tried = Tried.NOTHING
    seen: State | None = None
    since: datetime | None = None
    far: bool = False
    job: Job = field(default_factory=Job)
    plan: Plan | None = None  # of a stray job


@dataclass(slots=True)
class _Look:
    """One attempt in one turn. ``answer``: its object as the cluster itself has it, once it was ``asked``."""

    action: Object
    memory: _Memory
    plan: Plan
    made: Object | Cause | None = None
    asked: bool = False
    answer: Object | None = None

    @property
    def problem(self) -> Cause | None:
        return self.plan.problem or (self.made if isinstance(self.made, Cause) else None)


class Attempts:
    """The attempts of a cluster."""

    def __init__(self, world: World, plans: Plans, outside: Outside) -> None:
        self._world = world
        self._plans = plans
        self._kube, self._clock = outside.kube, outside.clock
        self._ours, self._may_write = outside.ours, outside.may_write
        self._memories: dict[Name, _Memory] = {}
        self._record = Record(world, outside.kube, outside.clock, outside.hears)
        self._jobs = Jobs(world, outside.kube, self._record, outside.clock, outside.may_write)

    @property
    def stages(self) -> Counter[Stage]:
        """How far the attempts have come that there are."""
        return self._record.stages

    def let_go(self) -> None:
        """Forget what another Manager looks after now: what is known of it is not true any more."""
        for name in list(self._memories):
            action = self._world.action(name)
            if (action is None or not self._ours(action)) and not self._memories[name].job.open:
                self._forget(name)

    async def turn(self, name: Name, *, far: bool = False) -> datetime | None:
        """Bring one attempt in line; when to look again, if nothing changes before.

        Raises:
            Later: it could not be brought in line yet.
            NotOurs: it is not to be.
            Far: it has to be done with ``far``, apart from those who ask the cluster alone.
            KubeError: the cluster did not do it. Nothing is lost: look again.
        """
        action, known = self._world.action(name), self._memories.get(name)
        if not far and (self._plans.are_far(action) if action is not None else known is not None and known.far):
            raise Far
        if action is None:
            await self._abandon(name, None)
            await self._clear(name)
            return None
        if not self._ours(action):
            await self._abandon(name, action)
            self._forget(name)
            raise NotOurs
        memory = self._remembered(name, action["metadata"]["uid"])
        memory.far = far
        plan = await self._plans.of(action)
        if plan.plugin is not None and not self._world.ready(plan.plugin):
            raise Later
        try:
            if plan.waits and not leaving(action) and not state_of(action).stage.over:
                await self._jobs.stay_silent(action, plan, memory.job, plan.waits)
            if plan.plugin is None:
                return await self._elsewhere(action, plan, memory)
            return await self._steps(_Look(action, memory, plan))
        except Conflict:
            self._world.put(ACTIONS, await self._kube.get(ACTIONS, name))
            raise

    async def _elsewhere(self, action: Object, plan: Plan, memory: _Memory) -> datetime | None:
        try:
            return await self._jobs.turn(action, plan, memory.job)
        finally:
            memory.plan = plan if memory.job.stray else None

    async def _steps(self, look: _Look) -> datetime | None:
        follows: Step | None = None
        for _ in range(_STEPS):
            step, follows = follows or self._decide(look), None
            if not self._may_write(look.action):
                raise Later
            match step:
                case Wait(until):
                    return until
                case Launching(state):
                    look.memory.tried = Tried.RECORDED  # before: it may be written though no answer says so
                    await self._write(look, state)
                case Report(state):
                    if not await self._write(look, state):
                        return None
                case Retry(report, after):
                    if report is not None:
                        await self._write(look, report)
                    raise Later(after)
                case Create():
                    follows = await self._create(look)
                case Ask():
                    await self._ask(look)
                case Delete():
                    await self._delete(look)
                    return None
        raise Later

    def _decide(self, look: _Look) -> Step:
        plan, memory, now = look.plan, look.memory, self._clock()
        state = self._record.read(look.action, plan)
        found = self._found(look)
        if found is None and look.made is None and plan.task is not None and not state.stage.over:
            look.made = built(plan)
        seen = self._seen(look, found, now)
        going = leaving(look.action)
        told = memory.seen.reason if memory.seen is not None else ""
        known = Known(memory.uid, state, going, memory.tried, found, look.asked, memory.since, told)
        return next_step(known, seen, look.problem, now)

    def _found(self, look: _Look) -> Object | None:
        if look.asked:
            return look.answer
        plugin = look.plan.plugin
        return None if plugin is None else self._world.found(plugin.kind, look.action)

    def _seen(self, look: _Look, found: Object | None, now: datetime) -> Seen | None:
        """What the plugin makes of the attempt's object, and since when it is that."""
        plan, memory = look.plan, look.memory
        if plan.plugin is None or plan.task is None or found is None or owner_of(found) != memory.uid:
            return None
        parts = self._world.parts(plan.plugin, look.action)
        seen = self._world.told(plan.plugin.observe(plan.task, found, parts, now), found, parts)
        if seen.state != memory.seen:
            memory.seen, memory.since = seen.state, now
        return seen

    async def _write(self, look: _Look, state: State) -> bool:
        """Write the status, if it is not the one there is, and nobody else has written; whether it was written."""
        written = await self._record.write(look.action, look.plan, state)
        look.action = written or look.action
        return written is not None

    async def _create(self, look: _Look) -> Step | None:
        """Create the object; what follows at once, if that failed."""
        plugin, memory = look.plan.plugin, look.memory
        assert plugin is not None, "nothing is created without a plugin"
        assert isinstance(look.made, dict), "nothing is created that was not built"
        memory.tried = Tried.UNSURE
        try:
            made = await self._kube.create(plugin.kind, owned(look.made, look.action, look.plan.labels))
        except KubeError as error:
            memory.tried, step = after_create(state_of(look.action), error, self._clock())
            return step
        memory.tried = Tried.CREATED
        self._world.put(plugin.kind, made)
        return None

    async def _ask(self, look: _Look) -> None:
        """Ask the cluster itself for the object, by the name that it has or would have."""
        plugin, there = look.plan.plugin, self._found(look)
        assert plugin is not None, "there is nothing to ask for without a plugin"
        if there is None:
            assert isinstance(look.made, dict), "what is not there has been built"
            there = owned(look.made, look.action, look.plan.labels)
        try:
            look.answer = await self._kube.get(plugin.kind, name_of(there))
        except NotFound:
            look.answer = None
        look.asked = True
        if look.answer is not None and owner_of(look.answer) == look.memory.uid:
            self._world.put(plugin.kind, look.answer)

    async def _delete(self, look: _Look) -> None:
        plugin, found = look.plan.plugin, self._found(look)
        assert plugin is not None, "nothing is found without a plugin"
        assert found is not None, "only what was found is deleted"
        await self._end(plugin.kind, found)

    async def _clear(self, name: Name) -> None:
        """There is no such TaskAction. Delete what was made for it, if it really is gone.

        Of an attempt that is over nothing runs any more: that is left to the cluster's garbage collector, and to the
        next look at everything.
        """
        stage = self._forget(name)
        if stage is not None and stage.over:
            return
        left = [(kind, one) for kind, one in self._world.made(name) if not _leaves_in_time(one) and self._ours(one)]
        if not left:
            return
        if not all(self._may_write(one) for _, one in left):
            raise Later
        try:
            uid = (await self._kube.get(ACTIONS, name))["metadata"]["uid"]
        except NotFound:
            uid = ""
        for kind, one in left:
            if owner_of(one) != uid:
                await self._end(kind, one)

    async def _end(self, kind: Kind, found: Object) -> None:
        """Delete what is still as it was found. Some pods have a grace period of their own for what is not an abort."""
        await self._kube.delete(kind, name_of(found), uid=found["metadata"]["uid"], grace=_grace(found))

    def _remembered(self, name: Name, uid: str) -> _Memory:
        memory = self._memories.get(name)
        if memory is None or memory.uid != uid:
            self._forget(name)
            memory = self._memories[name] = _Memory(uid)
        return memory

    async def _abandon(self, name: Name, action: Object | None) -> None:
        """It is gone, or another Manager's. What was begun here and is told nowhere nobody would end."""
        memory = self._memories.get(name)
        if memory is not None and memory.job.stray and memory.plan is not None:
            await self._jobs.abandon(action, memory.plan, memory.job)

    def _forget(self, name: Name) -> Stage | None:
        """Forget an attempt; how far it had come, if that is known."""
        memory = self._memories.pop(name, None)
        return None if memory is None else self._record.forget(memory.uid)


def _grace(found: Object) -> int | None:
    told = (found["metadata"].get("annotations") or {}).get(GRACE, "")
    return int(told) if told.isdecimal() else None


def _leaves_in_time(found: Object) -> bool:
    """Whether it is being deleted, and as fast as an abort is: the garbage collector knows of no other grace."""
    told = _grace(found)
    return leaving(found) and (told is None or found["metadata"].get("deletionGracePeriodSeconds", 0) <= told)
