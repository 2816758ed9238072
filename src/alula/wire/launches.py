"""From a task's template to what an executor starts: command, arguments, environment (executor.md 5.2, 5.3)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC

from flyteidl2.core import literals_pb2, tasks_pb2
from flyteidl2.task import run_pb2
from google.protobuf.json_format import MessageToDict

from alula.core.action import Action
from alula.core.errors import LaunchRefused
from alula.core.launch import Launch, Resources
from alula.core.naming import attempt_name
from alula.core.run import Run
from alula.core.taskspec import POD_TYPES
from alula.core.template import render
from alula.wire import clusters, copilot, secrets, sleeps, tasks
from alula.wire import resources as amounts
from alula.wire.actions import output_prefix
from alula.wire.reuse import reuse

CHECKPOINT = "_flytecheckpoints"  # what an attempt may leave for the next one; the SDK writes one object

_ORG = "local"  # a0 insists on an organisation; clients mostly have none


def launch(
    action: Action,
    run: Run,
    spec: bytes,
    surroundings: Mapping[str, str],
    secrets_: Mapping[str, bytes],
    resumes: int | None = None,
) -> Launch:
    """The launch of an action's current attempt. ``surroundings`` is how the task reaches this server.

    ``resumes``: the attempt whose checkpoint it goes on from; by default the one before it.

    Raises:
        LaunchRefused: the template describes nothing that can be started, or a secret is missing.
    """
    template = tasks.spec(spec).task_template
    container = _container(template)
    run_spec = run_pb2.RunSpec.FromString(run.spec)
    name = attempt_name(action.id, action.attempt)
    variables = variables_of(action, run, run_spec, action.attempt - 1 if resumes is None else resumes)
    words = render([*container.command, *container.args], variables)
    staged = copilot.staging(template, variables)
    cluster = clusters.local(template, words)
    if not words and staged is None:
        raise LaunchRefused(f"the task {action.task.name} has no command and no arguments: there is nothing to run")
    injected = secrets.inject([run_spec.security_context, template.security_context], secrets_, run.id)
    env = {
        **cluster.env,
        **pairs(container.env),
        **pairs(run_spec.envs.values),
        **injected.env,
        **surroundings,
        **identity_of(action, template, name),
    }
    ready = Launch(
        name=name,
        command=cluster.words,
        env=env,
        image=container.image,
        files=injected.files,
        secrets=injected.texts,
        entry=len(container.command),
        staging=staged,
    )
    return replace(ready, reuse=reuse(template, ready, str(run.id), action.parent or ""))


def resources(run: Run, spec: bytes, *, mirror: bool) -> Resources:
    """What the launches of an action ask of the machine. ``mirror``: limits are what was requested.

    Raises:
        LaunchRefused: the template describes nothing that can be started, or an amount is none.
    """
    template = tasks.spec(spec).task_template
    if sleeps.only(spec):
        return Resources(light=True)
    if is_job(template):
        return Resources()
    run_spec = run_pb2.RunSpec.FromString(run.spec)
    each = amounts.resources(template, _container(template), run_spec, mirror=mirror)
    return amounts.times(each, clusters.replicas(template))


def is_job(template: tasks_pb2.TaskTemplate) -> bool:
    """Whether a task is nothing that could be started: a connector carries it out."""
    if template.type in POD_TYPES:
        return False
    target = template.WhichOneof("target")
    container = template.container
    idle = not container.command and not container.args and not container.data_config.enabled
    return target not in ("container", "k8s_pod") or (target == "container" and idle)


def secret_keys(run: Run, spec: bytes) -> set[str]:
    """The names of the secrets that a launch needs."""
    contexts = run_pb2.RunSpec.FromString(run.spec).security_context, tasks.spec(spec).task_template.security_context
    return secrets.keys(contexts)


def variables_of(action: Action, run: Run, run_spec: run_pb2.RunSpec, resumes: int) -> dict[str, str]:
    prefix = output_prefix(action.base_uri, action.id.name, action.attempt)
    previous = output_prefix(action.base_uri, action.id.name, resumes)
    return {
        "input": action.input_uri,
        "inputPrefix": action.input_uri.rpartition("/")[0],
        "outputPrefix": prefix,
        "rawOutputDataPrefix": run_spec.raw_data_storage.raw_data_prefix.rstrip("/") or f"{prefix}/raw",
        "checkpointOutputPrefix": f"{prefix}/{CHECKPOINT}",
        "prevCheckpointPrefix": f"{previous}/{CHECKPOINT}" if resumes else "",
        "perRetryUniqueKey": f"a{action.attempt}",
        "runName": run.id.name,
        "actionName": action.id.name,
        # The same for every action and attempt of the run: the names of child actions are hashes over it.
        "runStartTime": run.starts_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
    }


def identity_of(action: Action, template: tasks_pb2.TaskTemplate, name: str) -> dict[str, str]:
    run = action.id.run
    task = {
        "PROJECT": template.id.project,
        "DOMAIN": template.id.domain,
        "NAME": template.id.name,
        "VERSION": template.id.version,
    }
    return {
        "FLYTE_INTERNAL_EXECUTION_ID": run.name,
        "FLYTE_INTERNAL_EXECUTION_PROJECT": run.project,
        "FLYTE_INTERNAL_EXECUTION_DOMAIN": run.domain,
        **{f"FLYTE_INTERNAL_TASK_{key}": value for key, value in task.items()},
        **{f"FLYTE_INTERNAL_{key}": value for key, value in task.items()},
        "FLYTE_ATTEMPT_NUMBER": str(action.attempt - 1),
        "ACTION_NAME": action.id.name,
        "RUN_NAME": run.name,
        "_U_RUN_BASE": action.base_uri,
        "_U_ORG_NAME": _ORG,
        "_F_PN": name,
    }


def pairs(pairs: Iterable[literals_pb2.KeyValuePair]) -> dict[str, str]:
    return {pair.key: pair.value for pair in pairs}


def _container(template: tasks_pb2.TaskTemplate) -> tasks_pb2.Container:
    """The container to run; of a pod, its primary one (a pod's other containers have no meaning for a process)."""
    match template.WhichOneof("target"):
        case "container":
            return template.container
        case "k8s_pod":
            return _primary(template)
        case _:
            raise LaunchRefused(
                f"task type {template.type!r} has no container: a connector runs it, and this server has none",
                code="PluginNotFound",
            )


def primary_name(template: tasks_pb2.TaskTemplate) -> str:
    """The name of the container that a pod is about."""
    return template.k8s_pod.primary_container_name or template.config.get("primary_container_name", "")


def _primary(template: tasks_pb2.TaskTemplate) -> tasks_pb2.Container:
    pod, name = template.k8s_pod, primary_name(template)
    spec = MessageToDict(pod.pod_spec)
    for container in _dicts(spec.get("containers")):
        if container.get("name") == name:
            env = [
                literals_pb2.KeyValuePair(key=str(pair.get("name", "")), value=str(pair.get("value", "")))
                for pair in _dicts(container.get("env"))
            ]
            return tasks_pb2.Container(
                image=str(container.get("image", "")),
                command=_strings(container.get("command")),
                args=_strings(container.get("args")),
                env=env,
                resources=amounts.of_pod(container.get("resources")),
            )
    raise LaunchRefused(f"the pod has no container named {name!r}", code="PrimaryContainerNotFound")


def _dicts(value: object) -> list[dict[str, object]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _strings(value: object) -> Sequence[str]:
    return [str(item) for item in value] if isinstance(value, list) else []
