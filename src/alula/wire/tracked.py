"""Tracked runs: as clients create them and report of them."""

from dataclasses import replace

from flyteidl2.task import run_pb2, task_definition_pb2
from flyteidl2.workflow import run_definition_pb2
from flyteidl2.workflow import tracked_run_service_pb2 as pb

from alula.core.action import Kind, TaskRef
from alula.core.ids import ROOT
from alula.core.run import Creation
from alula.core.tracked import Introduction, Report
from alula.wire import actions, ids, tasks, times


def creation(message: pb.CreateTrackedRunRequest, request: str, by: str) -> Creation:
    """A request by somebody to register a run. Labels of the request win over those of its run spec.

    What a run spec says of scheduling means nothing here: nobody schedules a tracked run.
    """
    named = message.WhichOneof("id") == "run_id"
    by_id = message.WhichOneof("task") == "task_id"
    spec = run_pb2.RunSpec()
    spec.CopyFrom(message.run_spec)
    spec.labels.values.update(message.labels)
    return Creation(
        project=message.run_id.project if named else message.project_id.name,
        domain=message.run_id.domain if named else message.project_id.domain,
        org=message.run_id.org if named else message.project_id.organization,
        name=message.run_id.name,
        task=ids.task(message.task_id) if by_id else None,
        spec=b"" if by_id else message.task_spec.SerializeToString(deterministic=True),
        inputs=b"",
        input_uri=message.offloaded_input_data.uri,
        run_spec=spec.SerializeToString(deterministic=True),
        labels=dict(spec.labels.values),
        relation=b"",
        base_dir="",
        source=run_definition_pb2.RUN_SOURCE_TRACKED,
        starts_at=times.time(message.run_start_time) if message.HasField("run_start_time") else None,
        request=request,
        created_by=by,
    )


def report(message: pb.TrackedActionUpdate) -> Report:
    """One report.

    Raises:
        Invalid: its phase is none.
    """
    action, event = actions.event(message.event)
    if event.failure is not None and not event.phase.terminal:
        event = replace(event, failure=None)  # an error is of an end
    introduction = _introduction(message)
    if message.status.HasField("start_time"):
        introduction = replace(introduction, began=min(times.time(message.status.start_time), event.at))
    return Report(action, event, introduction)


def _introduction(message: pb.TrackedActionUpdate) -> Introduction:
    name = message.event.id.name
    parent = message.parent_name or ROOT
    if message.WhichOneof("spec") == "trace":
        trace = message.trace
        spec = trace.spec.SerializeToString(deterministic=True)
        task = TaskRef(name=trace.name, short_name=trace.name)
        return Introduction(parent, Kind.TRACE, message.group, spec, task)
    told = task_definition_pb2.TaskSpec()
    told.CopyFrom(message.task.spec)
    if not told.task_template.id.name:
        told.task_template.id.name = message.task.id.name or name
    spec = told.SerializeToString(deterministic=True)
    return Introduction(parent, Kind.TASK, message.group, spec, tasks.reference(told))
