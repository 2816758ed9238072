"""The task that the SDK runs to have an image built (sdk-contract.md 5.2)."""

import hashlib

from flyteidl2.core import identifier_pb2, interface_pb2, literals_pb2, tasks_pb2, types_pb2
from flyteidl2.task import task_definition_pb2, task_service_pb2

PROJECT, DOMAIN, NAME = "system", "production", "build-image"  # where the SDK looks
_OUTPUT = "fully_qualified_image_name"
_STRING = types_pb2.LiteralType(simple=types_pb2.STRING, structure=types_pb2.TypeStructure(tag="str"))
_NONE = types_pb2.LiteralType(simple=types_pb2.NONE, structure=types_pb2.TypeStructure(tag="none"))


def deployment(recipes: str) -> task_service_pb2.DeployTaskRequest:
    """The task. Its version is a digest of it: what changes is a new version. ``recipes``: where it leaves recipes."""
    spec = _spec(recipes)
    version = hashlib.sha256(spec.SerializeToString(deterministic=True)).hexdigest()[:16]
    spec.task_template.id.version = version
    identifier = task_definition_pb2.TaskIdentifier(project=PROJECT, domain=DOMAIN, name=NAME, version=version)
    return task_service_pb2.DeployTaskRequest(task_id=identifier, spec=spec)


def _spec(recipes: str) -> task_definition_pb2.TaskSpec:
    builder = ("python", "-m", "alula.executors.process.environments.builder", "task")
    places = ("--inputs", "{{.input}}", "--outputs", "{{.outputPrefix}}", "--images", recipes)
    template = tasks_pb2.TaskTemplate(
        id=identifier_pb2.Identifier(resource_type=identifier_pb2.TASK, project=PROJECT, domain=DOMAIN, name=NAME),
        type="python",
        metadata=tasks_pb2.TaskMetadata(
            runtime=tasks_pb2.RuntimeMetadata(type=tasks_pb2.RuntimeMetadata.FLYTE_SDK, flavor="python"),
            retries=literals_pb2.RetryStrategy(),
        ),
        interface=_interface(),
        container=tasks_pb2.Container(args=[*builder, *places]),
    )
    return task_definition_pb2.TaskSpec(task_template=template, short_name=NAME)


def _interface() -> interface_pb2.TypedInterface:
    maybe = types_pb2.LiteralType(union_type=types_pb2.UnionType(variants=[_STRING, _NONE]))
    plain = types_pb2.LiteralType(simple=types_pb2.STRING)
    inputs = {"spec": plain, "context": maybe, "target_image": plain}
    return interface_pb2.TypedInterface(inputs=_variables(inputs), outputs=_variables({_OUTPUT: plain}))


def _variables(types: dict[str, types_pb2.LiteralType]) -> interface_pb2.VariableMap:
    entries = [
        interface_pb2.VariableEntry(key=name, value=interface_pb2.Variable(type=type_)) for name, type_ in types.items()
    ]
    return interface_pb2.VariableMap(variables=entries)
