"""`WatchActions`: which actions of a run a client wants to see, and how it is told of them."""

from collections.abc import Iterable, Mapping

from flyteidl2.common import list_pb2
from flyteidl2.workflow import run_definition_pb2, run_service_pb2

from alula.core.action import Action
from alula.core.errors import Invalid
from alula.core.phase import Phase
from alula.core.view import Sieve
from alula.wire import actions


def sieve(messages: Iterable[list_pb2.Filter]) -> Sieve:
    """Phases (any of several) and a part of the name, whatever its case; all that are given have to fit."""
    phases: list[frozenset[Phase]] = []
    parts: list[str] = []
    for message in messages:
        field, function = message.field.lower(), message.function
        if field == "phase" and function in (list_pb2.Filter.VALUE_IN, list_pb2.Filter.EQUAL):
            phases.append(_phases(message.values))
        elif field == "name" and function == list_pb2.Filter.CONTAINS_CASE_INSENSITIVE and message.values:
            parts.append(message.values[0].lower())
        else:
            raise Invalid(
                "filter: a run's actions are filtered by phase (VALUE_IN) and by name (CONTAINS_CASE_INSENSITIVE)"
            )
    return Sieve(tuple(phases), tuple(parts))


def _phases(values: Iterable[str]) -> frozenset[Phase]:
    try:
        return frozenset(Phase(int(value)) for value in values)
    except ValueError as error:
        raise Invalid(f"filter: {error}; give phases as their numbers") from error


def title(action: Action) -> str:
    """The name that people look for an action by."""
    return action.task.short_name or action.id.name


def action_bytes(action: Action, org: str) -> bytes:
    """An action as trees show it: made once for all who watch."""
    return actions.message(action, org).SerializeToString()


def response(told: Iterable[tuple[bytes, bool, Mapping[Phase, int]]]) -> run_service_pb2.WatchActionsResponse:
    """Actions, whether they are (still) shown, and the phases of everything below them.

    What is shown for the sake of something below it is shown all the same: clients drop what does not meet the filter.
    """
    found = run_service_pb2.WatchActionsResponse()
    for body, shown, below in told:
        enriched: run_definition_pb2.EnrichedAction = found.enriched_actions.add(meets_filter=shown)
        enriched.action.ParseFromString(body)
        enriched.children_phase_counts.update({int(phase): count for phase, count in below.items()})
    return found
