"""Tasks that only sleep (`flyte.extras.Sleep`; executor.md 4.9): nothing runs for them, a clock decides."""

import json
from datetime import datetime, timedelta

from flyteidl2.core import types_pb2
from flyteidl2.task import common_pb2

from alula.core.taskaction import Stage, State
from alula.manager.plugins.base import BadTask, Seen, Store, Task
from alula.manager.remote.data import inputs

_TYPE = "core-sleep"


class SleepPlugin:
    """The handle says until when; a Manager that starts anew does not make a sleep longer."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def knows(self, task: Task) -> bool:
        """See `Remote.knows`."""
        return task.template.type == _TYPE

    def again(self, task: Task) -> bool:
        """See `Remote.again`. Nothing runs."""
        return True

    async def create(self, task: Task, now: datetime) -> bytes:
        """See `Remote.create`."""
        span = _duration(task, await inputs(task, self._store))
        return json.dumps({"begun": now.isoformat(), "until": (now + span).isoformat()}).encode()

    async def get(self, task: Task, handle: bytes, now: datetime) -> Seen:
        """See `Remote.get`."""
        begun, until = (datetime.fromisoformat(json.loads(handle)[key]) for key in ("begun", "until"))
        if now >= until:
            return Seen(State(Stage.SUCCEEDED, started_at=begun, ended_at=until))
        return Seen(State(Stage.RUNNING, started_at=begun), look_again=until)

    async def delete(self, task: Task, handle: bytes, now: datetime) -> None:
        """See `Remote.delete`. There is nothing to end."""


def _duration(task: Task, given: common_pb2.Inputs) -> timedelta:
    interface = task.template.interface
    if [entry.value.type.simple for entry in interface.inputs.variables] != [types_pb2.DURATION]:
        raise _wrong("has to have one input, a timedelta")
    if interface.outputs.variables:
        raise _wrong("cannot have outputs")
    name = interface.inputs.variables[0].key
    values = {literal.name: literal.value.scalar.primitive for literal in given.literals}
    if name not in values or values[name].WhichOneof("value") != "duration":
        raise _wrong(f"lacks its input {name!r}")
    span = values[name].duration.ToTimedelta()
    if span < timedelta(0):
        raise _wrong(f"cannot sleep for {span / timedelta(seconds=1):g} s")
    return span


def _wrong(why: str) -> BadTask:
    return BadTask(f"a task of type {_TYPE!r} sleeps; this one {why}")
