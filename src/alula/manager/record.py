"""Statuses of TaskActions: read, written, counted, and told to those who hear of them."""

from collections import Counter
from typing import Protocol

from alula.base.clock import Clock
from alula.core.taskaction import Request, Stage, State
from alula.core.taskstatus import read_state, status
from alula.kube.client import Kube
from alula.kube.objects import Object, name_of
from alula.manager.plans import Plan
from alula.manager.world import ACTIONS, World


class Hears(Protocol):
    """Who hears what statuses say, new or not."""

    def tell(self, action: Object, request: Request, state: State) -> None:
        """What the status of a TaskAction says."""
        ...

    def forget(self, uid: str) -> None:
        """A TaskAction is gone."""
        ...


class Record:
    """Of all TaskActions. ``stages`` counts those that there are."""

    def __init__(self, world: World, kube: Kube, clock: Clock, hears: Hears) -> None:
        self._world, self._kube, self._clock, self._hears = world, kube, clock, hears
        self._known: dict[str, Stage] = {}
        self.stages: Counter[Stage] = Counter()

    def read(self, action: Object, plan: Plan) -> State:
        """What a status says."""
        state, uid = state_of(action), action["metadata"]["uid"]
        if (before := self._known.get(uid)) is not None:
            self.stages[before] -= 1
        self.stages[state.stage] += 1
        self._known[uid] = state.stage
        if plan.request is not None:
            self._hears.tell(action, plan.request, state)
        return state

    async def write(self, action: Object, plan: Plan, state: State) -> Object | None:
        """Have a status say this; the TaskAction as it is then, or ``None`` if nothing had to be written.

        Raises:
            Conflict: somebody else has written.
        """
        meta = action["metadata"]
        old = action.get("status") or {}
        told = status(old, state, plan.attempt, self._clock())
        if told == old:
            return None
        kept = {key: meta[key] for key in ("name", "namespace", "uid", "resourceVersion") if key in meta}
        written = await self._kube.replace(ACTIONS, {"metadata": kept, "status": told}, status=True)
        self._world.put(ACTIONS, written)
        return self._world.action(name_of(action)) or written

    def forget(self, uid: str) -> Stage | None:
        """A TaskAction is gone, or another Manager's; how far it had come, if that is known."""
        self._hears.forget(uid)
        stage = self._known.pop(uid, None)
        if stage is not None:
            self.stages[stage] -= 1
        return stage


def state_of(action: Object) -> State:
    """The state in a TaskAction's status; of a new one the first."""
    return read_state(action.get("status") or {}) or State()
