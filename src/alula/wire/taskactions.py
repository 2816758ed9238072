"""From a task's template to what a cluster is asked for: the template complete, and all of its environment."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from flyteidl2.core import security_pb2, tasks_pb2
from flyteidl2.task import run_pb2
from google.protobuf.json_format import MessageToDict, ParseDict

from alula.copilot.layout import Layout
from alula.core.action import Action
from alula.core.copilot import fill
from alula.core.errors import Invalid, LaunchRefused
from alula.core.launch import Launch, Resources
from alula.core.naming import attempt_label, attempt_name
from alula.core.run import Run
from alula.core.taskaction import Request
from alula.core.taskspec import fitting, label
from alula.core.template import render
from alula.wire import injection, secrets, tasks
from alula.wire.clusters import replicas
from alula.wire.launches import identity_of, pairs, primary_name, variables_of

_LABEL = 63
_INPUT = re.compile(rb"\{\{\s*[.$]inputs[.$]", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Destination:
    """A cluster, and how its pods reach this server.

    ``kept``: those of their variables that are in Secrets there, under their names (variable -> Secret);
    ``service_account``: of those whose task and run name none. ``webhook``: it injects secrets by one of its own.
    """

    cluster: str
    surroundings: Mapping[str, str] = field(repr=False)
    kept: Mapping[str, str] = field(default_factory=dict)
    service_account: str = ""
    webhook: bool = False


def launch(
    action: Action,
    run: Run,
    spec: bytes,
    to: Destination,
    values: Mapping[str, bytes],
    resumes: int | None = None,
) -> Launch:
    """The launch of an action's current attempt in a cluster; `launches.launch` is for those here.

    Raises:
        LaunchRefused: a secret is missing.
    """
    template = tasks.spec(spec).task_template
    run_spec = run_pb2.RunSpec.FromString(run.spec)
    name = attempt_name(action.id, action.attempt)
    variables = variables_of(action, run, run_spec, action.attempt - 1 if resumes is None else resumes)
    injected = secrets.inject([] if to.webhook else _asking(run_spec, template), values, run.id)
    env = {**pairs(run_spec.envs.values), **to.surroundings, **identity_of(action, template, name)}
    env = {key: value for key, value in env.items() if key not in to.kept}
    files = {f"file-{number}": file for number, file in enumerate(injected.files)}
    env |= {file.variable: f"/etc/flyte/secrets/{file.path}" for file in files.values() if file.variable}
    request = Request(
        name=name,
        project=run.id.project,
        domain=run.id.domain,
        run=run.id.name,
        action=action.id.name,
        attempt=action.attempt,
        task_type=template.type or "container",
        template=complete(template, variables).SerializeToString(),
        parent=action.parent or "",
        short_name=tasks.spec(spec).short_name[:_LABEL],
        group=action.group,
        queue=action.queue,
        env=env,
        secret=attempt_label(name) if injected.env or files else "",
        secret_env=tuple(sorted(injected.env)),
        secret_files={key: file.path for key, file in files.items()},
        secret_refs=to.kept,
        input_uri=action.input_uri,
        output_uri=variables["outputPrefix"],
        run_base=action.base_uri,
        raw_uri=variables["rawOutputDataPrefix"],
        cache_key=action.cache_key[:256],
        last=action.user_failures >= action.policy.retries > 0,
        max_attempts=action.policy.retries + 1,
        service_account=_account(run_spec, template) or to.service_account,
        run_key=action.run_key,
    )
    return Launch(
        name=name,
        command=(),
        env=injected.env,
        files=injected.files,
        secrets=injected.texts,
        hidden=frozenset(injected.env),
        cluster=to.cluster,
        request=_of_run(request, run_spec, template, injection.annotations(_asking(run_spec, template) * to.webhook)),
    )


def complete(template: tasks_pb2.TaskTemplate, variables: Mapping[str, str]) -> tasks_pb2.TaskTemplate:
    """The template with every variable filled in, of all of its containers."""
    return _reworded(template, lambda words: render(words, variables))


def names_inputs(request: Request) -> bool:
    """Whether a command names inputs, which a process would be told by its copilot (``{{.inputs.x}}``)."""
    return _INPUT.search(request.template) is not None


def filled(request: Request, inputs: bytes) -> Request:
    """The request with these inputs, a serialized `task.Inputs`, filled into its commands.

    Raises:
        LaunchRefused: a command names an input that there is not, or one of a kind that no command can hold.
    """
    template = tasks_pb2.TaskTemplate.FromString(request.template)
    pod = template.HasField("k8s_pod")
    if not pod and not template.HasField("container"):
        return request  # what a connector makes of its own words is its own
    config = template.k8s_pod.data_config if pod else template.container.data_config
    named = config.file_input_layout == tasks_pb2.DataLoadingConfig.NAMED_DIR
    layout = Layout(config.input_path or "/var/inputs", named, _not_read)
    try:
        layout.add(inputs)
        made = _reworded(template, lambda words: [fill(word, layout.values) for word in words])
    except Invalid as error:
        raise LaunchRefused(str(error), code="InvalidInput") from error
    return replace(request, template=made.SerializeToString())


def with_memory(ready: Launch, gets: Resources) -> Launch:
    """A launch for a cluster whose primary container has as much memory as ``gets`` says; 0: as its template says.

    Of a task of several pods ``gets`` is the sum of all.
    """
    request, limit = ready.request, gets.limits.memory
    if request is None or not limit:
        return ready
    template = tasks_pb2.TaskTemplate.FromString(request.template)
    pods = replicas(template)
    amounts = {"requests": gets.requests.memory // pods, "limits": limit // pods}
    if template.HasField("container"):
        said = template.container.resources
        for entries, amount in ((said.requests, amounts["requests"]), (said.limits, amounts["limits"])):
            others = [entry for entry in entries if entry.name != tasks_pb2.Resources.MEMORY]
            del entries[:]
            entries.extend([*others, _memory(amount)] if amount else others)
    elif template.HasField("k8s_pod"):
        pod, name = MessageToDict(template.k8s_pod.pod_spec), primary_name(template)
        for container in pod.get("containers") or ():
            if isinstance(container, dict) and container.get("name") == name:
                told = container.get("resources") or {}
                container["resources"] = told | {
                    key: {**(told.get(key) or {}), "memory": str(amount)} for key, amount in amounts.items() if amount
                }
        template.k8s_pod.pod_spec.Clear()
        ParseDict(pod, template.k8s_pod.pod_spec)
    return replace(ready, request=replace(request, template=template.SerializeToString()))


def _memory(amount: int) -> tasks_pb2.Resources.ResourceEntry:
    return tasks_pb2.Resources.ResourceEntry(name=tasks_pb2.Resources.MEMORY, value=str(amount))


def _not_read(uri: str) -> bytes:
    raise Invalid(f"an input is too large to stand in a command: it is in {uri}")


def _reworded(
    template: tasks_pb2.TaskTemplate, change: Callable[[Sequence[str]], Sequence[str]]
) -> tasks_pb2.TaskTemplate:
    """The template with the commands of all of its containers changed."""
    made = tasks_pb2.TaskTemplate()
    made.CopyFrom(template)
    if made.HasField("container"):
        made.container.command[:] = change(template.container.command)
        made.container.args[:] = change(template.container.args)
    elif made.HasField("k8s_pod"):
        pod = MessageToDict(template.k8s_pod.pod_spec)
        for part in ("containers", "initContainers"):
            for container in pod.get(part) or ():
                for words in ("command", "args"):
                    if isinstance(container, dict) and isinstance(container.get(words), list):
                        container[words] = list(change([str(word) for word in container[words]]))
        made.k8s_pod.pod_spec.Clear()
        ParseDict(pod, made.k8s_pod.pod_spec)
    return made


def _asking(run_spec: run_pb2.RunSpec, template: tasks_pb2.TaskTemplate) -> list[security_pb2.SecurityContext]:
    return [run_spec.security_context, template.security_context]


def _of_run(
    request: Request, run_spec: run_pb2.RunSpec, template: tasks_pb2.TaskTemplate, injected: Mapping[str, str]
) -> Request:
    """The request with what its run says of all of its attempts, as far as a cluster takes it.

    ``injected``: the annotations for a webhook.
    """
    labels = {key: label(value) for key, value in fitting(run_spec.labels.values).items()}
    return replace(
        request,
        interruptible=run_spec.interruptible.value or template.metadata.interruptible,
        labels={**labels, **(injection.LABEL if injected else {})},
        annotations={**fitting(run_spec.annotations.values), **injected},
    )


def _account(run_spec: run_pb2.RunSpec, template: tasks_pb2.TaskTemplate) -> str:
    said = run_spec.security_context.run_as.k8s_service_account
    return said or template.security_context.run_as.k8s_service_account
