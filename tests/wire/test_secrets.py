"""How secrets reach a process: as variables, as files, or with a reason why not."""

from collections.abc import Mapping

import pytest
from flyteidl2.core import security_pb2
from flyteidl2.secret import definition_pb2 as definition
from flyteidl2.secret import payload_pb2 as payload

from alula.core.errors import Invalid, LaunchRefused
from alula.core.ids import RunId
from alula.core.launch import SecretFile
from alula.wire import secrets as wire

RUN = RunId("p", "development", "r")
ENV, FILE, ANY = security_pb2.Secret.ENV_VAR, security_pb2.Secret.FILE, security_pb2.Secret.ANY


def inject(values: Mapping[str, bytes], *asked: security_pb2.Secret) -> wire.Injected:
    return wire.inject([security_pb2.SecurityContext(secrets=asked)], values, RUN)


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        (security_pb2.Secret(key="api-key", mount_requirement=ENV, env_var="MY_KEY"), "MY_KEY"),
        (security_pb2.Secret(key="api-key", mount_requirement=ENV), "API_KEY"),
        (security_pb2.Secret(key="api-key", group="open-ai", mount_requirement=ENV), "OPEN_AI_API_KEY"),
        (security_pb2.Secret(key="api-key", mount_requirement=ANY), "API_KEY"),
    ],
)
def test_as_a_variable(asked: security_pb2.Secret, name: str) -> None:
    found = inject({"api-key": "wörd\n".encode()}, asked)
    assert found.env == {name: "wörd\n"}
    assert found.files == ()


def test_as_a_file() -> None:
    asked = security_pb2.Secret(key="Key", group="G", mount_requirement=FILE, env_var="WHERE")
    found = inject({"Key": b"\0\xff"}, asked)
    assert found.env == {}
    body = b"\0\xff"
    assert found.files == (SecretFile("G/Key", body, "WHERE"), SecretFile("G/key", body), SecretFile("g/key", body))
    arn = "arn:aws:secretsmanager:us-east-2:1234:secret"
    (named,) = inject({"key": b"x"}, security_pb2.Secret(key="key", group=arn, mount_requirement=FILE)).files
    assert named.path == f"{arn}/key"
    (plain,) = inject({"key": b"x"}, security_pb2.Secret(key="key", mount_requirement=FILE)).files
    assert plain == SecretFile("key", b"x")


def test_nothing_of_them_is_in_a_repr() -> None:
    asked = [security_pb2.Secret(key="key", mount_requirement=how) for how in (ENV, FILE)]
    assert "hunter2" not in repr(inject({"key": b"hunter2"}, *asked))


@pytest.mark.parametrize(
    ("asked", "value", "words"),
    [
        (security_pb2.Secret(key="other"), b"x", "'other' does not exist.*project 'p'.*flyte create secret other"),
        (security_pb2.Secret(key="key"), b"\xff", "no text"),
        (security_pb2.Secret(key="key"), b"a\0b", "no text"),
        (security_pb2.Secret(key="key"), b"x" * 128 * 1024, "too large"),
        (security_pb2.Secret(key="key", env_var="A=B"), b"x", "environment variable named 'A=B'"),
        (security_pb2.Secret(key="key", group="../..", mount_requirement=FILE), b"x", "group"),
        (security_pb2.Secret(key="key", group="..", mount_requirement=FILE), b"x", "group"),
        (security_pb2.Secret(key="key", group="a/b", mount_requirement=FILE), b"x", "group"),
    ],
)
def test_what_cannot_be_done(asked: security_pb2.Secret, value: bytes, words: str) -> None:
    with pytest.raises(LaunchRefused, match=words):
        inject({"key": value}, asked)


def test_a_request_without_a_value_or_of_an_unknown_type() -> None:
    with pytest.raises(Invalid, match="secret_spec"):
        wire.value(definition.SecretSpec())
    with pytest.raises(Invalid, match=r"secret_spec\.type"):
        wire.kind(definition.SecretSpec(type=7))  # type: ignore[arg-type]
    with pytest.raises(Invalid, match="limit"):
        wire.page(payload.ListSecretsRequest(limit=-1))
    assert wire.value(definition.SecretSpec(string_value="")) == b""
    assert wire.value(definition.SecretSpec(binary_value=b"\0")) == b"\0"
