"""Task specs and deployed tasks."""

from datetime import datetime

from flyteidl2.core import tasks_pb2
from flyteidl2.task import common_pb2, task_definition_pb2, task_service_pb2

from alula.core.action import Policy, TaskRef
from alula.core.task import Task, TaskScope
from alula.wire import ids, times


def spec(body: bytes) -> task_definition_pb2.TaskSpec:
    """A stored spec, opened."""
    return task_definition_pb2.TaskSpec.FromString(body)


def reference(message: task_definition_pb2.TaskSpec) -> TaskRef:
    """What lists show of a spec."""
    template = message.task_template
    return TaskRef(
        project=template.id.project,
        domain=template.id.domain,
        name=template.id.name,
        version=template.id.version,
        type=template.type,
        short_name=message.short_name or template.id.name.rpartition(".")[2],
        environment=message.environment.name,
    )


def policy(template: tasks_pb2.TaskTemplate) -> Policy:
    """What a task allows its attempts."""
    retries = template.metadata.retries
    backoff = retries.backoff
    return Policy(
        retries=retries.retries,
        backoff_base=times.seconds(backoff.base),
        backoff_factor=backoff.factor if backoff.HasField("factor") else 1.0,
        backoff_cap=times.seconds(backoff.cap) if backoff.HasField("cap") else None,
        max_runtime=times.seconds(template.metadata.timeout),
        queued_timeout=times.seconds(template.metadata.timeouts.queued_timeout),
        deadline=times.seconds(template.metadata.timeouts.deadline),
        # What else runs in a container than the SDK's own entry point cannot know of outputs.pb.
        outputs=bool(template.interface.outputs.variables) and "{{.outputPrefix}}" in _words(template),
        report=template.metadata.generates_deck.value,
    )


def _words(template: tasks_pb2.TaskTemplate) -> list[str]:
    return [*template.container.command, *template.container.args]


def with_defaults(inputs: bytes, message: task_definition_pb2.TaskSpec) -> bytes:
    """Inline inputs, completed by the spec's defaults for what they leave out."""
    given = common_pb2.Inputs.FromString(inputs)
    named = {literal.name for literal in given.literals}
    for default in message.default_inputs:
        if default.name not in named and default.parameter.HasField("default"):
            given.literals.add(name=default.name, value=default.parameter.default)
    return given.SerializeToString(deterministic=True)


def deployed(message: task_service_pb2.DeployTaskRequest, spec_digest: bytes, now: datetime) -> Task:
    """A deployment, as it is stored."""
    return Task(
        id=ids.task(message.task_id),
        org=message.task_id.org,
        short_name=message.spec.short_name,
        environment=message.spec.environment.name,
        description=message.spec.documentation.short_description,
        entrypoint=message.spec.task_template.metadata.is_entrypoint,
        spec=spec_digest,
        deployed_at=now,
    )


def scope(message: task_service_pb2.ListTasksRequest) -> TaskScope:
    """Which tasks a list request is about. An organisation is everything there is."""
    entrypoint = [f.is_entrypoint for f in message.known_filters if f.WhichOneof("filter_by") == "is_entrypoint"]
    return TaskScope(
        project=message.project_id.name,
        domain=message.project_id.domain,
        entrypoint=entrypoint[-1] if entrypoint else None,
    )


def task_message(task: Task, org: str) -> task_definition_pb2.Task:
    return task_definition_pb2.Task(task_id=ids.task_message(task.id, org), metadata=_metadata(task))


def details_message(task: Task, body: bytes, org: str) -> task_definition_pb2.TaskDetails:
    return task_definition_pb2.TaskDetails(
        task_id=ids.task_message(task.id, org), metadata=_metadata(task), spec=spec(body)
    )


def _metadata(task: Task) -> task_definition_pb2.TaskMetadata:
    return task_definition_pb2.TaskMetadata(
        short_name=task.short_name,
        deployed_at=times.timestamp(task.deployed_at),
        environment_name=task.environment,
        short_description=task.description,
    )


def version_message(task: Task) -> task_service_pb2.ListVersionsResponse.VersionResponse:
    return task_service_pb2.ListVersionsResponse.VersionResponse(
        version=task.id.version, deployed_at=times.timestamp(task.deployed_at)
    )


def name_scope(message: task_definition_pb2.TaskName) -> TaskScope:
    return TaskScope(project=message.project, domain=message.domain, name=message.name)
