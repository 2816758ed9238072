"""From a task's template to what a cluster is asked for: the template complete, and all of its environment."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from flyteidl2.core import tasks_pb2
from flyteidl2.task import run_pb2
from google.protobuf.json_format import MessageToDict, ParseDict

from alula.copilot.layout import Layout
from alula.core.action import Action
from alula.core.copilot import fill
from alula.core.errors import Invalid, LaunchRefused
from alula.core.launch import Launch
from alula.core.naming import attempt_label, attempt_name
from alula.core.run import Run
from alula.core.taskaction import Request
from alula.core.taskspec import fitting, label
from alula.core.template import render
from alula.wire import secrets, tasks
from alula.wire.launches import identity_of, pairs, variables_of

_LABEL = 63
_INPUT = re.compile(rb"\{\{\s*[.$]inputs[.$]", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Destination:
    """A cluster, and how its pods reach this server.

    ``hidden``: what is not to be seen in their specs; ``service_account``: of those whose task and run name none.
    """

    cluster: str
    surroundings: Mapping[str, str] = field(repr=False)
    hidden: frozenset[str] = frozenset()
    service_account: str = ""


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
    injected = secrets.inject([run_spec.security_context, template.security_context], values, run.id)
    env = {**pairs(run_spec.envs.values), **to.surroundings, **identity_of(action, template, name)}
    hidden = {**{key: env.pop(key) for key in to.hidden if key in env}, **injected.env}
    files = {f"file-{number}": file for number, file in enumerate(injected.files)}
    env |= {file.variable: f"/etc/flyte/secrets/{file.path}" for file in files.values() if file.variable}
    rendered = complete(template, variables)
    request = Request(
        name=name,
        project=run.id.project,
        domain=run.id.domain,
        run=run.id.name,
        action=action.id.name,
        attempt=action.attempt,
        task_type=template.type or "container",
        template=rendered.SerializeToString(),
        parent=action.parent or "",
        short_name=tasks.spec(spec).short_name[:_LABEL],
        group=action.group,
        queue=action.queue,
        env=env,
        secret=attempt_label(name) if hidden or files else "",
        secret_env=tuple(sorted(hidden)),
        secret_files={key: file.path for key, file in files.items()},
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
        env=hidden,
        files=injected.files,
        secrets=injected.texts,
        hidden=frozenset(hidden),
        cluster=to.cluster,
        request=_of_run(request, run_spec, template),
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
    config = template.k8s_pod.data_config if pod else template.container.data_config
    named = config.file_input_layout == tasks_pb2.DataLoadingConfig.NAMED_DIR
    layout = Layout(config.input_path or "/var/inputs", named, _not_read)
    try:
        layout.add(inputs)
        made = _reworded(template, lambda words: [fill(word, layout.values) for word in words])
    except Invalid as error:
        raise LaunchRefused(str(error), code="InvalidInput") from error
    return replace(request, template=made.SerializeToString())


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


def _of_run(request: Request, run_spec: run_pb2.RunSpec, template: tasks_pb2.TaskTemplate) -> Request:
    """The request with what its run says of all of its attempts, as far as a cluster takes it."""
    return replace(
        request,
        interruptible=run_spec.interruptible.value or template.metadata.interruptible,
        labels={key: label(value) for key, value in fitting(run_spec.labels.values).items()},
        annotations=fitting(run_spec.annotations.values),
    )


def _account(run_spec: run_pb2.RunSpec, template: tasks_pb2.TaskTemplate) -> str:
    said = run_spec.security_context.run_as.k8s_service_account
    return said or template.security_context.run_as.k8s_service_account
