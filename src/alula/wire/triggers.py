"""Triggers: as clients deploy them, as they are told of them, and the runs they make."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, cast

from flyteidl2.artifact import artifact_pb2
from flyteidl2.core import literals_pb2
from flyteidl2.task import common_pb2, task_definition_pb2, task_service_pb2
from flyteidl2.trigger import trigger_definition_pb2 as definition_pb2
from flyteidl2.trigger import trigger_service_pb2 as pb

from alula.core import schedule as core
from alula.core.artifact import Published
from alula.core.errors import Invalid
from alula.core.run import Creation
from alula.core.trigger import Automation, FiredBy, NewTrigger, Revision, Trigger, TriggerId, TriggerScope, Wanted
from alula.wire import actions, ids, runs, times

_DESCRIPTION = 255  # characters, `trigger.TriggerDetails.description`
_UNITS = {
    common_pb2.FIXED_RATE_UNIT_MINUTE: timedelta(minutes=1),
    common_pb2.FIXED_RATE_UNIT_HOUR: timedelta(hours=1),
    common_pb2.FIXED_RATE_UNIT_DAY: timedelta(days=1),
}
# The runtime fills in this input of a scheduled run itself, wherever it is named so (SDK: `runtime/convert.py`).
_KICKOFF = "_u_kickoff_time_input_arg"


def deployed(message: pb.DeployTriggerRequest) -> NewTrigger:
    """A trigger that is deployed by itself. `Invalid` for an automation that contradicts itself."""
    spec = definition_pb2.TriggerSpec()
    spec.CopyFrom(message.spec)
    return _new(ids.trigger(message.name), message.name.org, spec, message.automation_spec)


def bundled(message: task_service_pb2.DeployTaskRequest) -> list[NewTrigger]:
    """The triggers that come with a task, in their order: of two of one name, the later is to replace the other.

    `Invalid` names the one that is wrong.
    """
    task, found = message.task_id, []
    for one in message.triggers:
        spec = definition_pb2.TriggerSpec(
            run_spec=one.spec.run_spec if one.spec.HasField("run_spec") else None,
            active=one.spec.active,
            task_version=task.version,
            description=one.spec.description,
        )
        if one.spec.HasField("inputs"):
            spec.inputs.CopyFrom(one.spec.inputs)
        elif one.spec.HasField("offloaded_input_data"):
            spec.offloaded_input_data.CopyFrom(one.spec.offloaded_input_data)
        try:
            name = TriggerId(task.project, task.domain, task.name, one.name)
            found.append(_new(name, task.org, spec, one.automation_spec))
        except Invalid as error:
            raise Invalid(f"triggers.{one.name}.{error}") from None
    return found


def _new(
    name: TriggerId, org: str, spec: definition_pb2.TriggerSpec, message: common_pb2.TriggerAutomationSpec
) -> NewTrigger:
    automation = common_pb2.TriggerAutomationSpec()
    automation.CopyFrom(message)
    automation.type = automation.type or common_pb2.TYPE_NONE
    if automation.type not in set(map(int, Automation)):
        raise Invalid(f"automation_spec.type: {automation.type} is not a kind of automation")
    expected = {common_pb2.TYPE_SCHEDULE: "schedule", common_pb2.TYPE_ARTIFACT: "artifact"}.get(automation.type)
    if automation.WhichOneof("automation") != expected:
        kind = common_pb2.TriggerAutomationSpecType.Name(automation.type)
        raise Invalid(f"automation_spec: of {kind} it has to have {expected or 'neither schedule nor artifact'}")
    active, description = spec.active, spec.description[:_DESCRIPTION]
    spec.ClearField("active")
    spec.ClearField("description")
    return NewTrigger(
        id=name,
        org=org,
        spec=spec.SerializeToString(deterministic=True),
        automation=automation.SerializeToString(deterministic=True),
        kind=Automation(automation.type),
        artifact=automation.artifact.artifact_name,
        active=active,
        task_version=spec.task_version,
        description=description,
    )


def schedule(automation: bytes, first: datetime) -> core.Schedule | None:
    """When a trigger is due, if by the clock. A rate that names no start counts from ``first``.

    Raises:
        Invalid: there is no such schedule; the message begins with the field.
    """
    message = common_pb2.TriggerAutomationSpec.FromString(automation).schedule
    path = "automation_spec.schedule"
    match message.WhichOneof("expression"):
        case "cron":
            return _timetable(f"{path}.cron.", message.cron.expression, message.cron.timezone)
        case "cron_expression":
            return _timetable(f"{path}.cron_", message.cron_expression, "")
        case "rate":
            anchor = times.time(message.rate.start_time) if message.rate.HasField("start_time") else first
            try:
                return core.rate(_interval(message.rate), anchor)
            except Invalid as error:
                raise Invalid(f"{path}.rate.{error}") from None
        case _:
            return None


def _timetable(path: str, expression: str, zone: str) -> core.Timetable:
    try:
        return core.timetable(expression, zone)
    except Invalid as error:
        raise Invalid(f"{path}{error}") from None


def _interval(message: common_pb2.FixedRate) -> timedelta:
    if message.unit not in _UNITS:
        raise Invalid(f"unit: {message.unit} is not one that this server knows")
    try:
        return message.value * _UNITS[message.unit]
    except OverflowError:
        return timedelta.max


def check_arguments(new: NewTrigger, spec: bytes) -> None:
    """Make sure that the task has the inputs that the automation gives it. `Invalid` if it has not."""
    automation = common_pb2.TriggerAutomationSpec.FromString(new.automation)
    interface = task_definition_pb2.TaskSpec.FromString(spec).task_template.interface
    known = {entry.key for entry in interface.inputs.variables}
    artifact = automation.artifact
    wanted = [
        ("automation_spec.schedule.kickoff_time_input_arg", automation.schedule.kickoff_time_input_arg),
        ("automation_spec.artifact.input_arg", artifact.input_arg),
        *(("automation_spec.artifact.partition_input_args", name) for name in artifact.partition_input_args),
    ]
    for path, name in wanted:
        if name and name not in known:
            raise Invalid(f"{path}: task {new.id.task} has no input {name!r}; it has: {', '.join(sorted(known))}")


def launch(asked: Creation, trigger: Trigger, stored: bytes, now: datetime) -> Creation:
    """A request to run a trigger with all that the trigger says. ``stored`` are its inputs, if they are offloaded.

    What was asked for wins over the trigger, input by input; its run spec is taken or left as a whole.
    """
    spec = definition_pb2.TriggerSpec.FromString(trigger.new.spec)
    kickoff = _automation(trigger).schedule.kickoff_time_input_arg
    starts_at = asked.starts_at or now
    fired_by = FiredBy(trigger.id.task, trigger.id.name, trigger.revision, trigger.new.automation)
    found: dict[str, Any] = {"task": trigger.launches, "starts_at": starts_at, "fired_by": fired_by}
    if not asked.run_spec:
        found |= runs.of_spec(spec.run_spec)
    if asked.input_uri:
        when = f"|{starts_at.isoformat()}" if kickoff and asked.inputs_hash else ""
        found["inputs_hash"] = asked.inputs_hash + when
    elif not reads_stored(asked, trigger) and spec.HasField("offloaded_input_data"):
        offloaded = spec.offloaded_input_data
        found |= {"input_uri": offloaded.uri, "inputs_hash": offloaded.inputs_hash}
    else:
        base = common_pb2.Inputs.FromString(stored) if stored else spec.inputs
        said = common_pb2.Inputs.FromString(asked.inputs)
        found["inputs"] = _union(base, said, kickoff, starts_at).SerializeToString(deterministic=True)
    return replace(asked, **found)


def reads_stored(asked: Creation, trigger: Trigger) -> bool:
    """Whether a trigger's own inputs are merged with others."""
    return not asked.input_uri and bool(asked.inputs or _automation(trigger).schedule.kickoff_time_input_arg)


def stored_at(trigger: Trigger) -> str:
    """Where a trigger's inputs are, if they are offloaded."""
    uri = definition_pb2.TriggerSpec.FromString(trigger.new.spec).offloaded_input_data.uri.rstrip("/")
    return uri if not uri or uri.endswith(".pb") else f"{uri}/inputs.pb"


def inline_inputs(trigger: Trigger) -> bytes | None:
    """A trigger's inputs, if they came with it."""
    spec = definition_pb2.TriggerSpec.FromString(trigger.new.spec)
    return spec.inputs.SerializeToString() if spec.HasField("inputs") else None


def _automation(trigger: Trigger) -> common_pb2.TriggerAutomationSpec:
    return common_pb2.TriggerAutomationSpec.FromString(trigger.new.automation)


def _union(base: common_pb2.Inputs, said: common_pb2.Inputs, kickoff: str, at: datetime) -> common_pb2.Inputs:
    literals = {literal.name: literal.value for literal in (*base.literals, *said.literals)}
    context = {pair.key: pair.value for pair in (*base.context, *said.context)}
    if kickoff and kickoff in {literal.name for literal in said.literals}:
        context.pop(_KICKOFF, None)  # else the runtime would put the time over what was said
    elif kickoff:
        literals[kickoff] = _time_literal(at)
    return common_pb2.Inputs(
        literals=[common_pb2.NamedLiteral(name=name, value=value) for name, value in literals.items()],
        context=[literals_pb2.KeyValuePair(key=key, value=value) for key, value in context.items()],
    )


def _time_literal(at: datetime) -> literals_pb2.Literal:
    primitive = literals_pb2.Primitive(datetime=times.timestamp(at))
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=primitive))


def _text_literal(text: str) -> literals_pb2.Literal:
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(string_value=text)))


def wanted(trigger: Trigger) -> Wanted:
    """Which versions of its artifact fire a trigger."""
    artifact = _automation(trigger).artifact
    return Wanted(artifact.version, dict(artifact.partitions))


def artifact_inputs(trigger: Trigger, published: Published) -> bytes:
    """The inputs that a version of an artifact gives to the run it fires: its value, and parts of its partition."""
    artifact, partition = _automation(trigger).artifact, published.artifact.partition
    literals = {}
    if artifact.input_arg:
        literals[artifact.input_arg] = artifact_pb2.ArtifactSpec.FromString(published.artifact.spec).value
    for name, key in artifact.partition_input_args.items():
        if partition.time is not None and key == partition.time_key:
            literals[name] = _time_literal(partition.time)
        elif key in partition.values:
            literals[name] = _text_literal(partition.values[key])
    named = [common_pb2.NamedLiteral(name=name, value=value) for name, value in literals.items()]
    return common_pb2.Inputs(literals=named).SerializeToString(deterministic=True)


def scope(message: pb.ListTriggersRequest) -> TriggerScope:
    """Which triggers a list request is about. An organisation is everything there is."""
    match message.WhichOneof("scope_by"):
        case "project_id":
            return TriggerScope(message.project_id.name, message.project_id.domain)
        case "task_name":
            return TriggerScope(message.task_name.project, message.task_name.domain, message.task_name.name)
        case "task_id":
            task = message.task_id
            return TriggerScope(task.project, task.domain, task.name, task.version)
        case _:
            return TriggerScope()


def message(trigger: Trigger, org: str) -> definition_pb2.Trigger:
    """A trigger as lists show it."""
    return definition_pb2.Trigger(
        id=ids.trigger_message(trigger.id, trigger.revision, org),
        metadata=_metadata(trigger),
        status=_status(trigger),
        active=trigger.new.active,
        automation_spec=_automation(trigger),
    )


def details_message(trigger: Trigger, org: str) -> definition_pb2.TriggerDetails:
    """Everything about a trigger."""
    spec = definition_pb2.TriggerSpec.FromString(trigger.new.spec)
    spec.active = trigger.new.active
    spec.description = trigger.new.description
    if uri := stored_at(trigger):
        spec.offloaded_input_data.uri = uri  # the file, not its folder: the SDK reads it as it is (`_run_trigger`)
    return definition_pb2.TriggerDetails(
        id=ids.trigger_message(trigger.id, trigger.revision, org),
        metadata=_metadata(trigger),
        spec=spec,
        status=_status(trigger),
        automation_spec=_automation(trigger),
        description=trigger.new.description,
    )


def revision_message(revision: Revision, org: str) -> definition_pb2.TriggerRevision:
    trigger = revision.trigger
    return definition_pb2.TriggerRevision(
        id=ids.trigger_message(trigger.id, trigger.revision, org),
        metadata=_metadata(trigger),
        status=_status(trigger),
        action=cast("definition_pb2.TriggerRevisionAction", int(revision.step)),
        created_at=times.timestamp(trigger.updated_at),
    )


def _metadata(trigger: Trigger) -> definition_pb2.TriggerMetadata:
    return definition_pb2.TriggerMetadata(
        deployed_by=actions.identity(trigger.deployed_by) if trigger.deployed_by else None,
        updated_by=actions.identity(trigger.updated_by) if trigger.updated_by else None,
    )


def _status(trigger: Trigger) -> definition_pb2.TriggerStatus:
    return definition_pb2.TriggerStatus(
        deployed_at=times.timestamp(trigger.deployed_at),
        updated_at=times.timestamp(trigger.updated_at),
        triggered_at=times.optional(trigger.fired_at),
        deleted_at=times.optional(trigger.deleted_at),
    )


def summary_message(triggers: Sequence[Trigger]) -> task_definition_pb2.TaskTriggersSummary | None:
    """A task's triggers, as lists of tasks show them: the one, or how many there are."""
    summary = task_definition_pb2.TaskTriggersSummary
    match triggers:
        case []:
            return None
        case [only]:
            automation = _automation(only)
            return summary(
                details=summary.TriggerDetails(name=only.id.name, active=only.new.active, automation_spec=automation)
            )
        case _:
            return summary(stats=summary.TriggerStats(total=len(triggers), active=_active(triggers)))


def _active(triggers: Iterable[Trigger]) -> int:
    return sum(trigger.new.active for trigger in triggers)
