"""What a cluster is asked for: the template complete, the environment, and nothing that is secret."""

from base64 import b32decode
from dataclasses import replace
from typing import Any

import pytest
from flyteidl2.core import literals_pb2, security_pb2, tasks_pb2
from flyteidl2.task import common_pb2, run_pb2, task_definition_pb2
from google.protobuf import text_format
from google.protobuf.json_format import MessageToDict, ParseDict

from alula.core.action import Policy
from alula.core.errors import LaunchRefused
from alula.core.launch import Amounts, Launch, Resources
from alula.core.run import Run
from alula.core.taskaction import Request
from alula.wire.taskactions import Destination, filled, launch, names_inputs, with_memory
from tests.core.builders import NOW, RUN, action

KEPT = {"AWS_SECRET_ACCESS_KEY": "the-keys"}
EAST = Destination("east", {"_U_EP_OVERRIDE": "flyte:80", "AWS_SECRET_ACCESS_KEY": "hush"}, KEPT, "runner")
CONTAINER = tasks_pb2.Container(
    image="image",
    command=["a0"],
    args=["--inputs", "{{.input}}", "--outputs", "{{.outputPrefix}}", "{{.perRetryUniqueKey}}"],
)


def sent(
    template: tasks_pb2.TaskTemplate, spec: run_pb2.RunSpec | None = None, to: Destination = EAST, **said: Any
) -> Launch:
    body = (spec or run_pb2.RunSpec()).SerializeToString()
    run = Run(7, RUN, "", b"", body, {}, b"", 0, NOW, NOW, 1)
    task = task_definition_pb2.TaskSpec(task_template=template, short_name="short")
    secrets = {"token": b"quiet", "cert": b"\x00"}
    who = action(**{"run_key": 7, "input_uri": "s3://b/in/inputs.pb", **said})
    return launch(who, run, task.SerializeToString(), to, secrets)


def request_of(found: Launch) -> Request:
    assert found.request is not None
    return found.request


def test_nothing_is_left_to_be_filled_in() -> None:
    found = request_of(sent(tasks_pb2.TaskTemplate(type="python", container=CONTAINER)))
    container = tasks_pb2.TaskTemplate.FromString(found.template).container
    assert (list(container.command), list(container.args)) == (
        ["a0"],
        ["--inputs", "s3://b/in/inputs.pb", "--outputs", "s3://alula/runs/r1/a0/1", "a1"],
    )
    assert (found.task_type, found.run_key, found.attempt, found.output_uri) == (
        "python",
        7,
        1,
        "s3://alula/runs/r1/a0/1",
    )
    assert found.env["_U_EP_OVERRIDE"] == "flyte:80"
    assert found.env["FLYTE_ATTEMPT_NUMBER"] == "0"


def test_all_containers_of_a_pod_are_complete() -> None:
    template = tasks_pb2.TaskTemplate(type="sidecar")
    one = {"name": "a", "command": ["x"], "args": ["{{.runName}}"], "ports": [{"containerPort": 80}]}
    spec = {"containers": [one, {"name": "b"}], "initContainers": [{"name": "i", "args": ["{{.actionName}}"]}]}
    ParseDict(spec, template.k8s_pod.pod_spec)
    found = tasks_pb2.TaskTemplate.FromString(request_of(sent(template)).template)
    pod = MessageToDict(found.k8s_pod.pod_spec)
    assert pod["containers"][0] == one | {"args": ["r1"]}
    assert pod["initContainers"][0]["args"] == ["a0"]


def test_secrets_are_named_and_not_told() -> None:
    template = tasks_pb2.TaskTemplate(type="python", container=CONTAINER)
    template.security_context.secrets.add(key="token", env_var="TOKEN")
    template.security_context.secrets.add(
        key="cert", group="g", mount_requirement=security_pb2.Secret.FILE, env_var="CERT"
    )
    ready = sent(template)
    found = request_of(ready)
    assert (found.secret_env, found.secret_refs) == (("TOKEN",), KEPT)
    assert found.secret_files == {"file-0": "g/cert"}
    assert found.env["CERT"] == "/etc/flyte/secrets/g/cert"
    assert {ready.env[name] for name in ready.hidden} == {"quiet"}
    assert [file.body for file in ready.files] == [b"\x00"]
    for text in (str(found.env), found.template.decode(errors="replace"), repr(ready)):
        assert "hush" not in text
        assert "quiet" not in text


def test_what_a_run_says() -> None:
    spec = run_pb2.RunSpec()
    spec.labels.values.update({"team": "a b", "not a key": "x"})
    spec.annotations.values.update({"a/b": "x y", "": "x"})
    spec.envs.values.add(key="A", value="1")
    spec.interruptible.value = True
    spec.security_context.run_as.k8s_service_account = "someone"
    found = request_of(sent(tasks_pb2.TaskTemplate(type="python", container=CONTAINER), spec))
    assert (found.labels, found.annotations) == ({"team": "a-b"}, {"a/b": "x y"})
    assert (found.env["A"], found.interruptible, found.service_account) == ("1", True, "someone")


@pytest.mark.parametrize(("retries", "failures", "last"), [(0, 0, False), (2, 0, False), (2, 1, False), (2, 2, True)])
def test_which_try_is_the_last(retries: int, failures: int, last: bool) -> None:
    template = tasks_pb2.TaskTemplate(type="python", container=CONTAINER)
    found = request_of(sent(template, attempt=failures + 1, user_failures=failures, policy=Policy(retries=retries)))
    assert (found.last, found.max_attempts) == (last, retries + 1)
    assert found.service_account == "runner"


# Inputs in commands


def raw(*words: str) -> Request:
    container = tasks_pb2.Container(image="i", args=words)
    container.data_config.enabled = True
    return request_of(sent(tasks_pb2.TaskTemplate(type="raw-container", container=container)))


def inputs(**values: literals_pb2.Literal) -> bytes:
    named = [common_pb2.NamedLiteral(name=name, value=value) for name, value in values.items()]
    return common_pb2.Inputs(literals=named).SerializeToString()


def number(value: int) -> literals_pb2.Literal:
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(integer=value)))


def test_inputs_are_filled_into_commands() -> None:
    asked = raw("echo", "{{.inputs.x}} and {{ $inputs.x }}")
    assert names_inputs(asked)
    made = tasks_pb2.TaskTemplate.FromString(filled(asked, inputs(x=number(3))).template)
    assert list(made.container.args) == ["echo", "3 and 3"]
    assert not names_inputs(raw("echo", "{{.other}}"))


def test_inputs_that_are_not_there() -> None:
    with pytest.raises(LaunchRefused, match="'y'") as refused:
        filled(raw("{{.inputs.y}}"), inputs(x=number(3)))
    assert refused.value.code == "InvalidInput"


MORE = Resources(Amounts(memory=2 << 30), Amounts(memory=4 << 30))


def test_a_container_gets_more_memory_than_its_template_says() -> None:
    template = tasks_pb2.TaskTemplate(type="python", container=CONTAINER)
    template.container.resources.requests.add(name=tasks_pb2.Resources.CPU, value="2")
    template.container.resources.requests.add(name=tasks_pb2.Resources.MEMORY, value="1Gi")
    ready = sent(template)
    assert with_memory(ready, Resources()) is ready
    said = tasks_pb2.TaskTemplate.FromString(request_of(with_memory(ready, MORE)).template).container.resources
    assert [entry.value for entry in said.requests] == ["2", str(2 << 30)]
    assert [entry.value for entry in said.limits] == [str(4 << 30)]


def test_the_primary_container_of_a_pod_gets_more_memory() -> None:
    template = tasks_pb2.TaskTemplate(type="sidecar")
    template.k8s_pod.primary_container_name = "a"
    one = {"name": "a", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}
    ParseDict({"containers": [one, {"name": "b"}]}, template.k8s_pod.pod_spec)
    found = tasks_pb2.TaskTemplate.FromString(request_of(with_memory(sent(template), MORE)).template)
    pod = MessageToDict(found.k8s_pod.pod_spec)
    assert pod["containers"] == [
        {
            "name": "a",
            "resources": {"requests": {"cpu": "1", "memory": str(2 << 30)}, "limits": {"memory": str(4 << 30)}},
        },
        {"name": "b"},
    ]


def test_a_webhook_is_told_the_names_of_secrets_and_alula_needs_none() -> None:
    """As upstream's webhook reads them: base32 in its own letters, of a message in its text form."""
    template = tasks_pb2.TaskTemplate(type="python", container=CONTAINER)
    asked = template.security_context.secrets
    asked.add(key="nobody-has-it", group="g", mount_requirement=security_pb2.Secret.FILE)
    asked.add(key="token", env_var="TOKEN", mount_requirement=security_pb2.Secret.ENV_VAR)
    found = request_of(sent(template, to=replace(EAST, webhook=True)))
    assert (found.secret, found.secret_env, found.secret_files) == ("", (), {})
    assert found.labels["inject-flyte-secrets"] == "true"
    letters = str.maketrans("abcdefghijklmnopqrstuvwxyz123456", "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
    for number, secret in enumerate(asked):
        text = found.annotations[f"flyte.secrets/s{number}"].translate(letters)
        told = b32decode(text + "=" * (-len(text) % 8)).decode()
        assert text_format.Parse(told, security_pb2.Secret()) == secret
    assert "inject-flyte-secrets" not in request_of(sent(tasks_pb2.TaskTemplate(container=CONTAINER))).labels
