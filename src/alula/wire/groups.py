"""Runs grouped by their tasks, as clients ask for and are told of them."""

from datetime import timedelta

from flyteidl2.common import list_pb2
from flyteidl2.workflow import run_definition_pb2, run_service_pb2
from google.protobuf import duration_pb2

from alula.core.action import Blame
from alula.core.errors import Invalid
from alula.core.groups import Group, GroupScope, check_order
from alula.core.pages import Order
from alula.wire import actions, pages, times

_MOST = 200  # as of any list


def scope(message: run_service_pb2.WatchGroupsRequest) -> GroupScope:
    """Which groups a watch is about, in which order, and how many. No limit means all: the first list is to be whole.

    Raises:
        Invalid: it asks for more than one page, or for an order or a time that there is not.
    """
    asked = pages.page(message.request)
    if asked.token:
        raise Invalid("request.token: groups are told of at once and have no pages")
    if not 0 <= asked.limit <= _MOST:
        raise Invalid(f"request.limit: {asked.limit} is over {_MOST}; leave it out to be told of all groups")
    known = (Order("created_at", descending=_descends(sort)) for sort in message.known_sort_fields)
    order = (*asked.order, *known)
    check_order(order)
    found = GroupScope(
        project=message.project_id.name,
        domain=message.project_id.domain,
        start=times.time(message.start_date),
        end=times.time(message.end_date) if message.HasField("end_date") else None,
        where=asked.where,
        order=order,
        limit=asked.limit,
    )
    if found.end is not None and found.end < found.start:
        raise Invalid("end_date: is before start_date")
    return found


def _descends(sort: run_service_pb2.WatchGroupsRequest.KnownSortField) -> bool:
    return sort.created_at == list_pb2.Sort.DESCENDING


def message(group: Group) -> run_definition_pb2.TaskGroup:
    found = run_definition_pb2.TaskGroup(
        task_name=group.task,
        environment_name=group.environment,
        short_name=group.short_name,
        total_runs=group.total,
        latest_run_time=times.timestamp(group.latest_run),
        latest_finished_time=times.optional(group.latest_finished),
        average_failure_rate=group.failure_rate,
        average_duration=_duration(group.duration),
        average_time_to_running=_duration(group.time_to_running),
        created_by=[actions.identity(subject) for subject in group.created_by],
    )
    for name, phase in group.recent:
        found.recent_statuses.add(run_name=name).phase = int(phase)  # type: ignore[assignment]
    for phase, count in sorted(group.phases.items()):
        found.phase_counts.add(count=count).phase = int(phase)  # type: ignore[assignment]
    found.error_counts.user_error = group.errors.get(Blame.USER, 0)
    found.error_counts.system_error = group.errors.get(Blame.SYSTEM, 0)
    found.error_counts.unspecified_error = group.errors.get(Blame.UNKNOWN, 0)
    return found


def gone(task: str) -> run_definition_pb2.TaskGroup:
    """A group to forget."""
    return run_definition_pb2.TaskGroup(task_name=task, should_delete=True)


def _duration(value: timedelta | None) -> duration_pb2.Duration | None:
    if value is None:
        return None
    found = duration_pb2.Duration()
    found.FromTimedelta(value)
    return found
