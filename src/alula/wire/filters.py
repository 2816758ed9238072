"""The filter of `WatchActions`: which actions of a run a client wants to see."""

from collections.abc import Callable, Iterable, Mapping

from flyteidl2.common import list_pb2
from flyteidl2.workflow import run_definition_pb2

from alula.core.action import Action
from alula.core.errors import Invalid
from alula.core.phase import Phase
from alula.wire import actions

Visible = Callable[[Action], bool]


def visible(messages: Iterable[list_pb2.Filter]) -> Visible:
    """Phases (any of several) and a part of the name, whatever its case; all that are given have to fit."""
    tests = [_test(message) for message in messages]
    return lambda action: all(test(action) for test in tests)


def _test(message: list_pb2.Filter) -> Visible:
    field, function = message.field.lower(), message.function
    if field == "phase" and function in (list_pb2.Filter.VALUE_IN, list_pb2.Filter.EQUAL):
        try:
            phases = {Phase(int(value)) for value in message.values}
        except ValueError as error:
            raise Invalid(f"filter: {error}; give phases as their numbers") from error
        return lambda action: action.phase in phases
    if field == "name" and function == list_pb2.Filter.CONTAINS_CASE_INSENSITIVE and message.values:
        part = message.values[0].lower()
        return lambda action: part in (action.task.short_name or action.id.name).lower()
    raise Invalid("filter: a run's actions are filtered by phase (VALUE_IN) and by name (CONTAINS_CASE_INSENSITIVE)")


def enriched(
    changed: Iterable[tuple[Action, Mapping[Phase, int]]], shown: Visible, org: str
) -> list[run_definition_pb2.EnrichedAction]:
    """Actions as a tree shows them."""
    return [
        run_definition_pb2.EnrichedAction(
            action=actions.message(action, org),
            meets_filter=shown(action),
            children_phase_counts={int(phase): count for phase, count in below.items()},
        )
        for action, below in changed
    ]
