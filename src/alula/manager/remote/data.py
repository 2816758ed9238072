"""The inputs and outputs of an attempt, for those who run it without a pod of its own."""

from flyteidl2.task import common_pb2
from google.protobuf.message import DecodeError

from alula.core.errors import Exhausted, Invalid, NotFound, Unavailable
from alula.manager.plugins.base import BadTask, Store, Task

_INPUTS, _OUTPUTS = "inputs.pb", "outputs.pb"


async def inputs(task: Task, store: Store) -> common_pb2.Inputs:
    """What the attempt is given; nothing is read for a task that takes nothing.

    Raises:
        BadTask: its inputs are not there, or are none.
        Unavailable: the store cannot be read for now.
    """
    if not task.template.interface.inputs.variables:
        return common_pb2.Inputs()
    uri = task.request.input_uri
    uri = uri if uri.endswith(_INPUTS) else f"{uri.rstrip('/')}/{_INPUTS}"
    try:
        return common_pb2.Inputs.FromString(await store.get(uri))
    except (NotFound, Invalid, Exhausted, DecodeError) as error:
        raise BadTask(f"the inputs at {uri} cannot be read: {error}", code="InputsNotFound") from error


async def leave(task: Task, store: Store, outputs: common_pb2.Outputs) -> None:
    """Put the attempt's outputs where those of a pod would be.

    Raises:
        BadTask: they can be nowhere.
        Unavailable: the store cannot be written for now.
    """
    uri = f"{task.request.output_uri.rstrip('/')}/{_OUTPUTS}"
    try:
        await store.put(uri, outputs.SerializeToString())
    except Invalid as error:
        raise BadTask(f"the outputs cannot be written to {uri}: {error}") from error
    except Exhausted as error:
        raise Unavailable(f"the outputs cannot be written to {uri} for now: {error}") from error
