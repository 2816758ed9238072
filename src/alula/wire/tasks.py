"""Task specs."""

from flyteidl2.core import tasks_pb2
from flyteidl2.task import common_pb2, task_definition_pb2

from alula.core.action import Policy, TaskRef
from alula.wire import times


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
        artifacts=template.metadata.produces_artifacts,
        serialize=template.metadata.cache_serializable,
        max_age=times.seconds(template.metadata.cache_max_age),
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
