"""Actions: as clients enqueue them, and as they are told of them."""

from dataclasses import replace
from datetime import timedelta
from typing import cast

from flyteidl2.actions import actions_service_pb2
from flyteidl2.common import identifier_pb2, identity_pb2, phase_pb2
from flyteidl2.core import catalog_pb2, execution_pb2
from flyteidl2.task import common_pb2, task_definition_pb2
from flyteidl2.workflow import (
    internal_run_service_pb2,
    queue_service_pb2,
    run_definition_pb2,
    run_service_pb2,
    state_service_pb2,
)
from google.protobuf.message import DecodeError

from alula.core.action import (
    Action,
    Attempt,
    Blame,
    CacheStatus,
    Details,
    Event,
    Failure,
    Kind,
    Link,
    NewAction,
    Note,
    TaskRef,
)
from alula.core.errors import Conflict, Invalid
from alula.core.ids import ActionId, RunId
from alula.core.phase import Phase
from alula.core.trigger import TriggerId
from alula.wire import conditions, ids, links, tasks, times

_MOST_ATTEMPTS = 1_000_000  # of one action: the protocol counts them in 32 bits
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
        raise Invalid("spec: say what the action is: a task, a trace or a condition")
    return _condition(name, parent, base, message)


def _condition(name: str, parent: str, base: str, message: Enqueued) -> NewAction:
    condition = message.condition
    conditions.check(condition)
    return NewAction(
        name=name,
        parent=parent or None,
        kind=Kind.CONDITION,
        group=message.group,
        input_uri="",
        output_uri="",
        base_uri=base,
        spec=condition.SerializeToString(deterministic=True),
        policy=conditions.policy(condition),
        task=TaskRef(name=condition.name, short_name=condition.name, type=conditions.type_name(condition)),
        phase=Phase.PAUSED,
    )


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
        queue=message.task.queue,
        cache_key=message.task.cache_key.value,
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
    if action.value:
        update.value.ParseFromString(action.value)
        update.output_uri = ""  # a condition's value travels inline (SDK: `_condition.py`)
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
        executed_by=identity(action.created_by) if action.created_by else None,
        source=cast("run_definition_pb2.RunSource", action.source),
    )
    if action.recovered_from:
        origin = replace(action.id, run=replace(action.id.run, name=action.recovered_from))
        found.recovered_from.CopyFrom(ids.action_message(origin, org))
    if action.parent is None and action.relation:
        found.relation.ParseFromString(action.relation)
    if action.parent is None and action.trigger.name:
        found.trigger_name = action.trigger.name
        found.trigger_id.CopyFrom(ids.trigger_message(fired_by(action), action.trigger.revision, org))
        found.trigger_type.ParseFromString(action.trigger.automation)
    if action.kind is Kind.TRACE:
        found.trace.name = task.name
    elif action.kind is Kind.CONDITION:
        found.condition.name = task.name
        found.condition.type.CopyFrom(conditions.named_type(task.type))
    else:
        identifier = task_definition_pb2.TaskIdentifier(
            org=org, project=task.project, domain=task.domain, name=task.name, version=task.version
        )
        found.task.CopyFrom(
            run_definition_pb2.TaskActionMetadata(id=identifier, task_type=task.type, short_name=task.short_name)
        )
    return found


def fired_by(action: Action) -> TriggerId:
    """The trigger that made an action's run; there is one."""
    return TriggerId(action.id.run.project, action.id.run.domain, action.trigger.task, action.trigger.name)


def status(action: Action) -> run_definition_pb2.ActionStatus:
    found = run_definition_pb2.ActionStatus(
        phase=_phase(action.phase),
        start_time=times.timestamp(action.created_at),
        attempts=action.attempt,
        cache_status=_cache_status(action.cache_status),
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
        if action.by:
            found.abort_info.aborted_by.CopyFrom(identity(action.by))
    elif action.value:
        found.signal_info.output.ParseFromString(action.value)
        if action.by:
            found.signal_info.signalled_by.CopyFrom(identity(action.by))
    elif action.failure is not None and action.phase.terminal:
        found.error_info.CopyFrom(error_info(action.failure))
    if action.kind is Kind.TRACE:
        found.trace.ParseFromString(details.spec)
    elif action.kind is Kind.CONDITION:
        found.condition.ParseFromString(details.spec)
    else:
        found.task.ParseFromString(details.spec)
        for attempt in found.attempts:
            if not attempt.log_info:
                attempt.log_info.extend(links.rendered(found.task.task_template, action, attempt.attempt))
    return found


def attempt_message(attempt: Attempt) -> run_definition_pb2.ActionAttempt:
    found = run_definition_pb2.ActionAttempt(
        phase=_phase(attempt.phase),
        start_time=times.timestamp(attempt.start),
        attempt=attempt.number,
        logs_available=attempt.logged,
        cluster=attempt.cluster,
        cluster_events=[cluster_event(note) for note in attempt.notes],
        cache_status=_cache_status(attempt.cache_status),
        log_info=[_link(link) for link in attempt.links],
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
    if attempt.cache_source:
        found.cache_metadata.source_action_attempt.CopyFrom(_attempt_id(attempt.cache_source))
    return found


def identity(subject: str) -> identity_pb2.EnrichedIdentity:
    """Somebody, as clients show them."""
    user = identity_pb2.User(id=identifier_pb2.UserIdentifier(subject=subject))
    user.spec.user_handle = subject
    return identity_pb2.EnrichedIdentity(user=user)


def subject(message: identity_pb2.EnrichedIdentity) -> str:
    """Who somebody is, as rows keep it."""
    return message.user.id.subject or message.application.id.subject


def _attempt_text(message: identifier_pb2.ActionAttemptIdentifier) -> str:
    action = message.action_id
    if not action.name:
        return ""
    return f"{action.run.project}/{action.run.domain}/{action.run.name}/{action.name}/{message.attempt}"


def _attempt_id(text: str) -> identifier_pb2.ActionAttemptIdentifier:
    """Which attempt it was, as rows spell it: project/domain/run/action/attempt."""
    project, domain, run, action, attempt = text.split("/")
    source = ActionId(RunId(project, domain, run), action)
    return identifier_pb2.ActionAttemptIdentifier(action_id=ids.action_message(source, ""), attempt=int(attempt))


def _cache_status(told: CacheStatus) -> catalog_pb2.CatalogCacheStatus:
    return cast("catalog_pb2.CatalogCacheStatus", int(told))


def log_context(attempt: Attempt) -> execution_pb2.LogContext:
    """Where the attempt's log is. One process stands for the pod that clients expect."""
    if attempt.log_context:
        return execution_pb2.LogContext.FromString(attempt.log_context)
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


def _link(link: Link) -> execution_pb2.TaskLog:
    if link.told:
        return execution_pb2.TaskLog.FromString(link.told)
    return execution_pb2.TaskLog(name=link.name, uri=link.uri)


def cluster_event(note: Note) -> run_definition_pb2.ClusterEvent:
    if note.told:
        return run_definition_pb2.ClusterEvent.FromString(note.told)
    return run_definition_pb2.ClusterEvent(occurred_at=times.timestamp(note.at), message=note.text)


def error_info(failure: Failure) -> run_definition_pb2.ErrorInfo:
    kind = cast("run_definition_pb2.ErrorInfo.Kind", int(failure.blame))
    return run_definition_pb2.ErrorInfo(message=failure.message, kind=kind, code=failure.code)


def event(message: run_definition_pb2.ActionEvent) -> tuple[ActionId, Event]:
    """Something an executor elsewhere reports of an attempt."""
    info = message.error_info
    reported = Event(
        action=message.id.name,
        attempt=_told_attempt("events.attempt", message.attempt),
        phase=_told_phase("events.phase", message.phase),
        version=message.version,
        at=times.time(message.updated_time if message.HasField("updated_time") else message.reported_time),
        failure=Failure(info.code, info.message, _told_blame(info.kind)) if message.HasField("error_info") else None,
        output_uri=message.outputs.output_uri,
        report_uri=message.outputs.report_uri,
        logged=message.HasField("log_context"),
        log_context=message.log_context.SerializeToString(),
        cluster=message.cluster,
        notes=tuple(Note(times.time(e.occurred_at), e.message, e.SerializeToString()) for e in message.cluster_events),
        links=tuple(Link(log.name, log.uri, log.SerializeToString()) for log in message.log_info),
        cache_status=_told_cache_status(message.cache_status),
        cache_source=_attempt_text(message.cache_metadata.source_action_attempt),
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


def _told_attempt(field: str, number: int) -> int:
    """An attempt's number, of which there can be a next one."""
    if number > _MOST_ATTEMPTS:
        raise Invalid(f"{field}: {number} is over {_MOST_ATTEMPTS}")
    return number


def _told_phase(field: str, number: int) -> Phase:
    """A phase as others tell of it."""
    if number not in set(Phase):
        raise Invalid(f"{field}: {number} is not a phase")
    return Phase(number)


def _told_blame(number: int) -> Blame:
    return Blame(number) if number in set(Blame) else Blame.UNKNOWN


def _told_cache_status(number: int) -> CacheStatus:
    return CacheStatus(number) if number in set(CacheStatus) else CacheStatus.DISABLED


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


def update_event(message: actions_service_pb2.UpdateRequest) -> tuple[ActionId, Event]:
    """What an executor tells of an attempt."""
    return ids.action(message.action_id), _told(message.action_id.name, message.attempt, message.status)


def _told(name: str, attempt: int, status: run_definition_pb2.ActionStatus) -> Event:
    at = times.time(status.end_time if status.HasField("end_time") else status.start_time)
    phase = _told_phase("status.phase", status.phase)
    cached = _told_cache_status(status.cache_status)
    number = _told_attempt("attempt", attempt or max(1, status.attempts))
    return Event(name, number, phase, 0, at, cache_status=cached)


def status_event(message: internal_run_service_pb2.UpdateActionStatusRequest) -> tuple[ActionId, Event]:
    """A status update, as the event it stands for."""
    told = replace(
        _told(message.action_id.name, 0, message.status),
        reason=message.abort_reason,
        by=subject(message.principal),
        value=message.output.SerializeToString() if message.HasField("output") else b"",
    )
    return ids.action(message.action_id), told
