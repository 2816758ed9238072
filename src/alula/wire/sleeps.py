"""Tasks that only sleep (`flyte.extras.Sleep`; executor.md 4.9): nothing of the user's runs for them."""

from dataclasses import replace
from datetime import timedelta

from flyteidl2.core import interface_pb2, types_pb2
from flyteidl2.task import common_pb2

from alula.core.errors import LaunchRefused
from alula.core.launch import Launch
from alula.wire import tasks

_TYPE = "core-sleep"


def only(spec: bytes) -> bool:
    """Whether a task does nothing but sleep."""
    return tasks.spec(spec).task_template.type == _TYPE


def asleep(ready: Launch, spec: bytes, inputs: bytes) -> Launch:
    """The launch of such a task: a process that sleeps instead of its own. ``inputs`` is a serialized task.Inputs.

    Raises:
        LaunchRefused: the task has other inputs than one duration, or outputs, or its duration is negative.
    """
    span = _duration(tasks.spec(spec).task_template.interface, inputs)
    if span < timedelta(0):
        raise _wrong(f"it cannot sleep for {span / timedelta(seconds=1):g} s")
    return replace(ready, command=("sleep", f"{span / timedelta(seconds=1):f}"), image="", reuse=None, staging=None)


def _duration(interface: interface_pb2.TypedInterface, inputs: bytes) -> timedelta:
    types = {entry.key: entry.value.type.simple for entry in interface.inputs.variables}
    if list(types.values()) != [types_pb2.DURATION]:
        raise _wrong("it has to have one input, a timedelta")
    if interface.outputs.variables:
        raise _wrong("it cannot have outputs")
    given = {literal.name: literal.value for literal in common_pb2.Inputs.FromString(inputs).literals}
    (name,) = types
    if name not in given or given[name].scalar.primitive.WhichOneof("value") != "duration":
        raise _wrong(f"its input {name!r} is missing")
    return given[name].scalar.primitive.duration.ToTimedelta()


def _wrong(why: str) -> LaunchRefused:
    return LaunchRefused(f"a task of type {_TYPE!r} sleeps, and {why}", code="BadTaskSpecification")
