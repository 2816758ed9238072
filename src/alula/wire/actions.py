"""Actions: as clients enqueue them, and as they are told of them."""

from datetime import timedelta
from typing import cast

from flyteidl2.actions import actions_service_pb2
from flyteidl2.common import phase_pb2
from flyteidl2.core import execution_pb2
from flyteidl2.task import common_pb2, task_definition_pb2
from flyteidl2.workflow import (
    internal_run_service_pb2,
    queue_service_pb2,
    run_definition_pb2,
    run_service_pb2,
    state_service_pb2,
)
from google.protobuf.message import DecodeError

from alula.core.action import Action, Attempt, Blame, Details, Event, Failure, Kind, NewAction, Note, TaskRef
from alula.core.errors import Conflict, Invalid, Unsupported
from alula.core.ids import ActionId
from alula.core.phase import Phase
from alula.wire import ids, tasks, times

Enqueued = (
    actions_service_pb2.Action | queue_service_pb2.EnqueueActionRequest | internal_run_service_pb2.RecordActionRequest
)


def new_action(message: Enqueued) -> NewAction:
    """An action to enqueue, however its request is spelled."""
    recorded = isinstance(message, internal_run_service_pb2.RecordActionRequest)
    parent = message.parent if recorded else message.parent_action_name  # type: ignore[union-attr]
    base = "" if recorded else message.run_output_base.rstrip("/")  # type: ignore[union-attr]
    name = message.action_id.name
    kind = message.WhichOneof("spec")
    if kind == "task":
        return _task(name, parent, base, message)
    if kind == "trace":
        return _trace(name, parent, base, message)
    if kind is None:
        raise Invalid("spec: say what the action is: a task or a trace")
    raise Unsupported("conditions are not served by this version of alula yet: remove the condition, or upgrade")


def _task(name: str, parent: str, base: str, message: Enqueued) -> NewAction:
    spec = message.task.spec
    return NewAction(
        name=name,
        parent=parent or None,
        kind=Kind.TASK,
        group=message.group,
        input_uri=message.input_uri,
        output_uri=output_prefix(base, name, 1),
        base_uri=base,
        spec=spec.SerializeToString(deterministic=True),
        policy=tasks.policy(spec.task_template),
        task=tasks.reference(spec),
    )


def _trace(name: str, parent: str, base: str, message: Enqueued) -> NewAction:
    trace = message.trace
    phase = _told_phase("trace.phase", trace.phase) if trace.phase else Phase.SUCCEEDED
    failed = phase in (Phase.FAILED, Phase.TIMED_OUT)
    return NewAction(
        name=name,
        parent=parent or None,
        kind=Kind.TRACE,
        group=message.group,
        input_uri=message.input_uri,
        output_uri=trace.outputs.output_uri,
        base_uri=base,
        spec=trace.spec.SerializeToString(deterministic=True),
        task=TaskRef(name=trace.name, short_name=trace.name),
        phase=phase,
        failure=Failure("TraceFailed", f"the traced call {trace.name} raised an error") if failed else None,
        started_at=times.time(trace.start_time) if trace.HasField("start_time") else None,
        ended_at=times.time(trace.end_time) if trace.HasField("end_time") else None,
        hosted=False,  # its parent does it, and tells
    )


def output_prefix(base: str, name: str, attempt: int) -> str:
    """Where an attempt writes. The SDK knows this shape: it looks for `<base>/<action>/1/error.pb`."""
    return f"{base}/{name}/{attempt}"


def update_message(action: Action, org: str) -> state_service_pb2.ActionUpdate:
    """What a waiting parent is told. The error travels along: a parent reads files only when it is missing."""
    update = state_service_pb2.ActionUpdate(
        action_id=ids.action_message(action.id, org), phase=_phase(action.phase), output_uri=action.output_uri
    )
    if action.failure is not None and action.phase.terminal:
        update.error.CopyFrom(_execution_error(action))
    return update


def _execution_error(action: Action) -> execution_pb2.ExecutionError:
    failure = action.failure
    assert failure is not None
    kinds = execution_pb2.ContainerError
    return execution_pb2.ExecutionError(
        code=failure.code,
        message=failure.message,
        kind=_blame(failure.blame),
        timestamp=times.optional(action.ended_at),
        recoverability=kinds.RECOVERABLE if failure.recoverable else kinds.NON_RECOVERABLE,
    )


def message(action: Action, org: str) -> run_definition_pb2.Action:
    """An action as lists show it."""
    return run_definition_pb2.Action(
        id=ids.action_message(action.id, org), metadata=metadata(action, org), status=status(action)
    )


def metadata(action: Action, org: str) -> run_definition_pb2.ActionMetadata:
    task = action.task
    found = run_definition_pb2.ActionMetadata(
        parent=action.parent or "",
        group=action.group,
        action_type=cast("run_definition_pb2.ActionType", int(action.kind)),
        environment_name=task.environment,
        funtion_name=task.name,
    )
    if action.parent is None and action.relation:
        found.relation.ParseFromString(action.relation)
    if action.kind is Kind.TRACE:
        found.trace.name = task.name
    else:
        identifier = task_definition_pb2.TaskIdentifier(
            org=org, project=task.project, domain=task.domain, name=task.name, version=task.version
        )
        found.task.CopyFrom(
            run_definition_pb2.TaskActionMetadata(id=identifier, task_type=task.type, short_name=task.short_name)
        )
    return found


def status(action: Action) -> run_definition_pb2.ActionStatus:
    found = run_definition_pb2.ActionStatus(
        phase=_phase(action.phase), start_time=times.timestamp(action.created_at), attempts=action.attempt
    )
    if action.ended_at is not None:
        found.end_time.CopyFrom(times.timestamp(action.ended_at))
        found.duration_ms = max(0, (action.ended_at - action.created_at) // timedelta(milliseconds=1))
    return found


def details_message(details: Details, org: str) -> run_definition_pb2.ActionDetails:
    """Everything about an action."""
    action = details.action
    found = run_definition_pb2.ActionDetails(
        id=ids.action_message(action.id, org),
        metadata=metadata(action, org),
        status=status(action),
        attempts=[attempt_message(attempt) for attempt in details.attempts],
    )
    if action.phase is Phase.ABORTED:
        found.abort_info.reason = action.abort_reason
    elif action.failure is not None and action.phase.terminal:
        found.error_info.CopyFrom(error_info(action.failure))
    if action.kind is Kind.TRACE:
        found.trace.ParseFromString(details.spec)
    else:
        found.task.ParseFromString(details.spec)
    return found


def attempt_message(attempt: Attempt) -> run_definition_pb2.ActionAttempt:
    found = run_definition_pb2.ActionAttempt(
        phase=_phase(attempt.phase),
        start_time=times.timestamp(attempt.start),
        attempt=attempt.number,
        logs_available=attempt.logged,
        cluster=attempt.cluster,
        cluster_events=[cluster_event(note) for note in attempt.notes],
        phase_transitions=[
            run_definition_pb2.PhaseTransition(
                phase=_phase(t.phase), start_time=times.timestamp(t.start), end_time=times.optional(t.end)
            )
            for t in attempt.transitions
        ],
    )
    if attempt.end is not None:
        found.end_time.CopyFrom(times.timestamp(attempt.end))
    if attempt.failure is not None:
        found.error_info.CopyFrom(error_info(attempt.failure))
    if attempt.output_uri:
        found.outputs.output_uri = attempt.output_uri
    if attempt.report_uri:
        found.outputs.report_uri = attempt.report_uri
    if attempt.logged:
        found.log_context.CopyFrom(log_context(attempt))
    return found


def log_context(attempt: Attempt) -> execution_pb2.LogContext:
    """Where the attempt's log is. One process stands for the pod that clients expect."""
    name = f"attempt-{attempt.number}"
    container = execution_pb2.ContainerContext(
        container_name="main",
        process=execution_pb2.ContainerContext.ProcessContext(
            container_start_time=times.timestamp(attempt.start), container_end_time=times.optional(attempt.end)
        ),
    )
    pod = execution_pb2.PodLogContext(
        namespace="local", pod_name=name, containers=[container], primary_container_name="main"
    )
    return execution_pb2.LogContext(pods=[pod], primary_pod_name=name)


def cluster_event(note: Note) -> run_definition_pb2.ClusterEvent:
    return run_definition_pb2.ClusterEvent(occurred_at=times.timestamp(note.at), message=note.text)


def error_info(failure: Failure) -> run_definition_pb2.ErrorInfo:
    kind = cast("run_definition_pb2.ErrorInfo.Kind", int(failure.blame))
    return run_definition_pb2.ErrorInfo(message=failure.message, kind=kind, code=failure.code)


def event(message: run_definition_pb2.ActionEvent) -> tuple[ActionId, Event]:
    """Something an executor elsewhere reports of an attempt."""
    info = message.error_info
    reported = Event(
        action=message.id.name,
        attempt=message.attempt,
        phase=_told_phase("events.phase", message.phase),
        version=message.version,
        at=times.time(message.updated_time if message.HasField("updated_time") else message.reported_time),
        failure=Failure(info.code, info.message, _told_blame(info.kind)) if message.HasField("error_info") else None,
        output_uri=message.outputs.output_uri,
        report_uri=message.outputs.report_uri,
        logged=message.HasField("log_context"),
        cluster=message.cluster,
        notes=tuple(Note(times.time(e.occurred_at), e.message) for e in message.cluster_events),
    )
    return ids.action(message.id), reported


def outputs(body: bytes) -> common_pb2.Outputs:
    """What an attempt wrote as its outputs. `Conflict` if that is something else."""
    try:
        return common_pb2.Outputs.FromString(body)
    except DecodeError:
        raise Conflict("the action's outputs cannot be read: its outputs.pb is no Outputs message") from None


def inputs(body: bytes) -> common_pb2.Inputs:
    """What lies where an action's inputs are. `Conflict` if that is something else."""
    try:
        return common_pb2.Inputs.FromString(body)
    except DecodeError:
        raise Conflict("the action's inputs cannot be read: its inputs.pb is no Inputs message") from None


def written_error(body: bytes) -> Failure:
    """An attempt's error.pb. One that cannot be read is an error all the same."""
    try:
        error = execution_pb2.ErrorDocument.FromString(body).error
    except DecodeError:
        return Failure("UnreadableError", "the attempt wrote an error.pb that is no ErrorDocument: see its log")
    return Failure(
        code=error.code or "UnknownError",
        message=error.message,
        blame=_told_blame(error.origin) or Blame.USER,
        recoverable=error.kind == execution_pb2.ContainerError.RECOVERABLE,
    )


def _phase(phase: Phase) -> phase_pb2.ActionPhase:
    return cast("phase_pb2.ActionPhase", int(phase))


def _told_phase(field: str, number: int) -> Phase:
    """A phase as others tell of it."""
    if number not in set(Phase):
        raise Invalid(f"{field}: {number} is not a phase")
    return Phase(number)


def _told_blame(number: int) -> Blame:
    return Blame(number) if number in set(Blame) else Blame.UNKNOWN


def _blame(blame: Blame) -> execution_pb2.ExecutionError.ErrorKind:
    return cast("execution_pb2.ExecutionError.ErrorKind", int(blame))


def log_context_message(attempt: Attempt) -> run_service_pb2.GetActionLogContextResponse:
    """Where an attempt's log is, and when it was written."""
    return run_service_pb2.GetActionLogContextResponse(
        log_context=log_context(attempt),
        cluster=attempt.cluster,
        start_time=times.timestamp(attempt.start),
        end_time=times.optional(attempt.end),
    )


def status_event(message: internal_run_service_pb2.UpdateActionStatusRequest) -> tuple[ActionId, Event]:
    """A status update, as the event it stands for."""
    told = message.status
    phase = _told_phase("status.phase", told.phase)
    at = times.time(told.end_time if told.HasField("end_time") else told.start_time)
    return ids.action(message.action_id), Event(message.action_id.name, max(1, told.attempts), phase, 0, at)
