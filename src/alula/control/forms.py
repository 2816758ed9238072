"""Launch forms: from what a task is, or from what a run was given; and back to what a run is to be given."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from flyteidl2.core import interface_pb2, literals_pb2
from flyteidl2.task import common_pb2, task_definition_pb2
from google.protobuf.struct_pb2 import Struct

from alula.blobs.store import Blobs
from alula.control.data import Data
from alula.core.errors import Conflict, Exhausted, Invalid, NotFound
from alula.core.ids import ActionId
from alula.core.trigger import TriggerId
from alula.wire import actions as wire_actions
from alula.wire import literals as wire_literals
from alula.wire.forms import launch

TriggerInputs = Callable[[TriggerId, int], Awaitable[bytes | None]]  # a trigger, its revision -> serialised Inputs

_MAX_INPUTS = 16 * 1024 * 1024  # bytes; the SDK keeps larger values out of inputs and outputs
_MAX_OFFLOADED = 1024 * 1024  # bytes of offloaded literals that one form shows; the others stay references
_MAX_READS = 100  # offloaded literals that one form shows

Named = list[common_pb2.NamedLiteral]


class Forms:
    """The verbs of launch forms. All raise `Invalid` with the path of what does not fit."""

    def __init__(self, data: Data, blobs: Blobs, trigger_inputs: TriggerInputs) -> None:
        """``trigger_inputs``: the serialised inputs that a trigger starts its runs with; None if it has none."""
        self._data = data
        self._blobs = blobs
        self._trigger_inputs = trigger_inputs

    async def of_task(self, spec: task_definition_pb2.TaskSpec) -> Struct:
        """The form of a task, with its defaults."""
        await self._fetch(one.parameter.default for one in spec.default_inputs if one.parameter.HasField("default"))
        return await asyncio.to_thread(launch.of_task, spec)

    async def of_literals(self, literals: Iterable[common_pb2.NamedLiteral], of: interface_pb2.VariableMap) -> Struct:
        """The form of variables, with literals as defaults. Small literals that lie elsewhere are fetched."""
        given = list(literals)
        await self._fetch(one.value for one in given)
        return await asyncio.to_thread(launch.of_literals, given, of)

    async def of_values(self, of: interface_pb2.VariableMap, values: Struct) -> Named:
        """The literals that JSON values stand for, in the order of the variables."""
        return await asyncio.to_thread(launch.literals_of_values, of, values)

    async def of_form(self, form: Struct) -> Named:
        """The literals that the defaults of a form stand for."""
        return await asyncio.to_thread(launch.literals_of_form, form)

    async def of_trigger(self, trigger: TriggerId, revision: int) -> Named:
        """What a trigger starts its runs with.

        Raises:
            Invalid: it starts them without inputs.
            NotFound: there is no such trigger, or it has no such revision.
        """
        inputs = await self._trigger_inputs(trigger, revision)
        if inputs is None:
            raise Invalid(f"trigger_id: {trigger} has no stored inputs: use its task's form instead")
        return list(wire_actions.inputs(inputs).literals)

    async def of_action(self, action: ActionId, uri: str) -> Named:
        """An action's inputs or outputs, whichever the URI is of.

        Raises:
            Invalid: the URI is of neither.
            NotFound: there is no such action, or nothing at the URI.
        """
        inputs, outputs = await self._data.uris(action)
        if uri not in (inputs, outputs):
            raise Invalid(
                f"literals_uri: is neither the inputs nor the outputs of {action}: use what GetActionData tells"
            )
        body = await self._blobs.get(uri, limit=_MAX_INPUTS)
        return list((wire_actions.inputs(body) if uri == inputs else wire_actions.outputs(body)).literals)

    async def _fetch(self, literals: Iterable[literals_pb2.Literal]) -> None:
        """Put small offloaded literals in their places. What is too large, or cannot be had, stays a reference."""
        bytes_left, reads_left = _MAX_OFFLOADED, _MAX_READS
        for one in [found for literal in literals for found in wire_literals.offloaded(literal)]:
            if reads_left == 0 or one.offloaded_metadata.size_bytes > bytes_left:
                continue
            reads_left -= 1
            try:
                body = await self._blobs.get(one.offloaded_metadata.uri, limit=bytes_left)
            except (Conflict, Exhausted, Invalid, NotFound):
                continue
            bytes_left -= len(body)
            if (opened := wire_literals.opened(body)) is not None:
                one.CopyFrom(opened)
